"""A card of a model for people to read, as Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cellseg_mmdet.shipped.card import ModelCard

_SCORES_MEAN = (
    "Competition mAP is the mean over IoUs from 0.5 to 0.95 of true positives over all that were annotated or found: "
    "outlines that are a little off cost much of it. F1 counts a cell as found at an IoU of 0.5."
)


def as_markdown(card: ModelCard, level: int = 2, folder: str | None = None) -> str:
    """Return a card as a chapter; see `ModelCard.as_markdown`."""
    lines = [
        f"{'#' * level} {card.name}",
        "",
        card.summary,
        "",
        "| | |",
        "|---|---|",
        f"| finds | {', '.join(card.classes)} |",
        f"| size of cells | {_size(card)} |",
        f"| weights | {card.weights.num_bytes / 1e6:.1f} MB, {card.weights.parameters:,} numbers, "
        f"{card.weights.precision} |",
        f"| licence of the weights | {card.licence} |",
        f"| SHA-256 of the weights | `{card.weights.sha256}` |",
        "",
        "**Trained on**",
        "",
    ]
    for source in card.trained_on:
        lines.append(
            f"- [{source.name}]({source.url}), {source.licence}: {source.what}. {source.groups}"
        )
    training = card.training
    averaged = ", moving average of the weights" if training.averaged else ""
    lines += [
        "",
        f"With seed {training.seed}, {training.iterations:,} iterations{averaged}, by",
        "",
        "```sh",
        training.command,
        "```",
        "",
        f"packed from a checkpoint with the SHA-256 `{training.checkpoint_sha256}`.",
        "",
        *score_lines(card),
        "**Where it fails**",
        "",
        *(f"- {sentence}" for sentence in card.fails),
        *_picture_lines(card, folder),
    ]
    for source in card.trained_on:
        if source.notice:
            lines += [
                "",
                f"**Notice of {source.name}**",
                "",
                "```text",
                source.notice.strip(),
                "```",
            ]
    return "\n".join(lines) + "\n"


def score_lines(card: ModelCard) -> list[str]:
    """Return the lines of a card that say the scores."""
    if card.scores is None:
        return ["**Scores**: not measured.", ""]
    rows = {
        "all": card.scores.overall,
        **card.scores.by_modality,
        **{f"cells {size}": one for size, one in card.scores.by_size.items()},
    }
    return [
        f"**Scores** on {card.scores.data}",
        "",
        "| images | number | cells | competition mAP | F1 at IoU 0.5 |",
        "|---|---|---|---|---|",
        *(
            f"| {name} | {one.images} | {one.cells:,} | {one.kaggle_map:.3f} | {one.f1_50:.3f} |"
            for name, one in rows.items()
        ),
        "",
        _SCORES_MEAN,
        "",
        "Measured by",
        "",
        "```sh",
        card.scores.command,
        "```",
        "",
    ]


def _size(card: ModelCard) -> str:
    if card.diameter_px is None:
        return "not said"
    um = "" if card.pixel_size_um is None else f", at {card.pixel_size_um:g} µm a pixel"
    return (
        f"pictures are resized until their median cell is {card.diameter_px:g} px across{um}; `--diameter PX` "
        "says how large it is in yours, else that is estimated"
    )


def _picture_lines(card: ModelCard, folder: str | None) -> list[str]:
    if folder is None or card.scores is None or not card.scores.pictures:
        return []
    lines = [
        "",
        "**The images with the best and with the worst scores**, each as it is and with its cells: annotated ones in "
        "thick blue, found ones in thin yellow; tinted are missed cells (blue), extra ones (yellow), "
        "merged and split ones (red).",
    ]
    for picture in card.scores.pictures:
        lines += ["", f"![{picture.file}]({folder}/{picture.file})", "", picture.caption]
    return lines
