"""Documentation against code: tables in the README are generated, and a test fails when they are not fresh.

`python -m tests.rules.test_rules_docs` writes them.
"""

from __future__ import annotations

import re

from appliance.domain.reasons import MEANING, Reason
from tests.rules.source import ROOT

README = ROOT / "README.md"


def reasons_table() -> str:
    """Every denial code with its sentence."""
    rows = "".join(f"| `{reason}` | {MEANING[reason]} |\n" for reason in Reason)
    return f"| code | meaning |\n|---|---|\n{rows}"


def filled(text: str) -> str:
    """The README with every generated block fresh."""
    blocks = {"reasons": reasons_table()}
    for name, table in blocks.items():
        pattern = rf"<!-- {name} -->\n.*?<!-- /{name} -->"
        block = f"<!-- {name} -->\n{table}<!-- /{name} -->"
        text = re.sub(pattern, block.replace("\\", r"\\"), text, flags=re.DOTALL)
    return text


def test_generated_tables_are_fresh() -> None:
    """Run `python -m tests.rules.test_rules_docs` after changing an enum."""
    text = README.read_text("utf-8")
    assert text == filled(text)
    assert all(f"`{reason}`" in text for reason in Reason)


if __name__ == "__main__":
    README.write_text(filled(README.read_text("utf-8")), "utf-8")
