# Test-time augmentation of U-Nets: the maps of all views are averaged, and cells made of their mean.
_base_ = "./tta.py"

tta_model = dict(_delete_=True, type="PixelTTAModel")
