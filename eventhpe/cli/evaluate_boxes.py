"""`eventhpe evaluate boxes`: boxes of people against labelled ones."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eventhpe.cli.evaluate import Options
    from eventhpe.evaluation.person_boxes import BoxResult

UNSURE = 0.05
"""Score above which the row "unsure" takes people; "network" takes those with whom `pose` begins."""


def evaluate_boxes(options: Options) -> int:
    """Find people, print a row per recording and person, and write the picture if asked.

    Raises:
        FormatError: weights of another system, or a picture that is no .png.
        MissingAssetError: no labelled recordings.
    """
    from eventhpe.data.voc_boxes import labelled_files
    from eventhpe.errors import FormatError
    from eventhpe.evaluation import person_boxes
    from eventhpe.find_people import boxes_in_window, trained_size
    from eventhpe.shapenet.heads.swahr import SWAHRNet
    from eventhpe.weights.files import load_network, shipped

    if options.output is not None and options.output.suffix.lower() != ".png":
        raise FormatError(f"--output {options.output}: pictures are written as .png.")
    network, card = load_network(options.weights or shipped("swahr"))
    if not isinstance(network, SWAHRNet):
        raise FormatError(f"{options.weights}: expected weights of `eventhpe train swahr`.")
    find = partial(boxes_in_window, network=network, size=trained_size(card))
    finders: dict[str, person_boxes.Finder] = {
        "network": find,
        "unsure": partial(find, least=UNSURE),
        "density": person_boxes.box_by_density,
    }
    results = person_boxes.evaluate_boxes(labelled_files(options.data), finders)
    if options.output is not None:
        from eventhpe.render.box_sheet import write_box_sheet

        sheets = [(r.path.name, r.events, {"labelled": r.true, **r.found}) for r in results]
        write_box_sheet(options.output, sheets)
    report = _report(results, list(finders))
    print(json.dumps(report, indent=1) if options.json else _text(report))
    if options.output is not None:
        print(f"wrote {options.output}")
    return 0


def _report(results: list[BoxResult], methods: list[str]) -> dict[str, Any]:
    from eventhpe.evaluation.person_boxes import box_scores

    people = [
        {
            "recording": r.path.name, "events": len(r.events.t), "person": i,
            **{m: float(r.overlaps(m)[i]) for m in methods},
            **{f"{m}_found": len(r.found[m]) for m in methods},
        }
        for r in results
        for i in range(len(r.true))
    ]  # fmt: skip
    return {
        "protocol": "boxes",
        "recordings": len(results),
        "people": people,
        "table": {m: box_scores(results, m) for m in methods},
    }


def _text(report: dict[str, Any]) -> str:
    from eventhpe.cli.progress import table

    methods = list(report["table"])
    header = ["recording", "events", "person", *(f"{m}: IoU (boxes found)" for m in methods)]
    rows = [
        [p["recording"], f"{p['events']:,}", str(p["person"]),
         *(f"{p[m]:.2f} ({p[f'{m}_found']})" for m in methods)]
        for p in report["people"]
    ]  # fmt: skip
    lines = [table(rows, header=header), ""]
    for method, s in report["table"].items():
        lines.append(
            f"{method}: mean IoU {s['mean_iou']:.2f}, {100 * s['recall']:.0f} % of the people met with 0.5 "
            f"or more, {s['spare_per_window']:.1f} boxes a window that meet nobody"
        )
    return "\n".join(lines)
