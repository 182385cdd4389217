"""Ways of marking by source, as benchmarks have them."""

from __future__ import annotations

from collections.abc import Mapping

DATBENCH: Mapping[str, str] = {
    "docvqa": "anls:0",
    "ocr-vqa": "anls:0",
    "infovqa": "anls",
    "chartqa": "numeric",
    "chartqapro": "numeric",
    "countbench": "count",
    "tallyqa": "count",
    "vqa-v2": "vqa",
    "text-vqa": "vqa",
    **dict.fromkeys(["ai2d", "mmbench", "mmmu", "mmmupro", "realworldqa"], "letter"),
    **dict.fromkeys([f"mme-realworld-{part}" for part in ("ocr", "ad", "mo", "dt")], "letter"),
    **dict.fromkeys([f"refcoco_{part}" for part in ("testA", "testB", "plus_testA", "plus_testB", "m_val")], "iou:0.5"),
    "refcocog_test": "iou:0.5",
    "*": "normalised",
}
"""DatBench's data sets (`source_info.dataset`) by the way that is nearest to their scorers at bd2ecaf (2026-04-28):
`Panel(..., scoring=DATBENCH)`. DocVQA and OCR-VQA were marked by "anls" until acf09e1 (2026-02-13). Not here, since
they have rules of their own: CharXiv, MathVista, MathVerse, MathVision, LogicVista (several letters), CC-OCR and
OCRBench v2 (edit distances of tables and pages) and Pixmo's points; "judge" suits what is answered in words.
"""
