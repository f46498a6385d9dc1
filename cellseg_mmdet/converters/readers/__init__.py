"""Readers of raw data sets, one file each."""
