#!/usr/bin/env python3
"""Renders templates with jinja2 as transformers sets it up, into tests/fixtures/template_goldens.json.

    tools/template_goldens.py            # write
    tools/template_goldens.py --check    # compare
    tools/template_goldens.py --out FILE # write elsewhere

Each case is a template of our own with its output, or with the name of Python's exception.
Written with jinja2 3.1.6 and transformers 5.24.0 on Python 3.11 (pip install jinja2==3.1.6
transformers==5.24.0; no torch is needed). The cases themselves are in template_cases.py beside this.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

import jinja2
from transformers.utils import chat_template_utils

sys.path.insert(0, str(Path(__file__).resolve().parent))
from template_cases import VARS, cases  # noqa: E402

GOLDEN = Path(__file__).resolve().parent.parent / "tests" / "fixtures" / "template_goldens.json"
ADDRESS = re.compile(r"\bat 0x[0-9a-f]+>")


def render(template: str) -> dict[str, Any]:
    try:
        text = chat_template_utils._compile_jinja_template(template).render(**json.loads(json.dumps(VARS)))
    except Exception as error:  # The exception is the case's outcome.
        return {"error": type(error).__name__}
    if ADDRESS.search(text):
        return {"error": "address"}
    return {"text": text}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--out", type=Path, default=GOLDEN)
    args = parser.parse_args()
    if jinja2.__version__ != "3.1.6":
        sys.exit(f"jinja2 is {jinja2.__version__}; the goldens are of 3.1.6")
    seen: set[str] = set()
    out = []
    for template in cases():
        if template in seen:
            continue
        seen.add(template)
        out.append({"template": template, **render(template)})
    lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in out)
    text = f'{{"vars": {json.dumps(VARS, ensure_ascii=False)},\n"cases": [\n{lines}\n]}}\n'
    if args.check:
        sys.exit(0 if args.out.read_text(encoding="utf-8") == text else "the goldens differ")
    args.out.write_text(text, encoding="utf-8")
    errors = sum("error" in case for case in out)
    print(f"{len(out)} cases, {errors} of them errors")


if __name__ == "__main__":
    main()
