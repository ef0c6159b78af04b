"""The source of docs/sources.md, held to the contract that the document tells its reader to run."""

import re
from pathlib import Path

_TEXT = Path(__file__).parents[2].joinpath("docs", "sources.md").read_text("utf-8")
_CODE = "\n".join(
    re.findall(r"```python\n(.*?)```", _TEXT.partition("## A source of your own")[2], re.DOTALL)
)
_namespace: dict = {"__name__": __name__}
exec(compile(_CODE, "docs/sources.md", "exec"), _namespace)  # noqa: S102  the document's own code

TestTable = _namespace["TestTable"]


def test_its_function_makes_one_of_a_url(tmp_path):
    source = _namespace["source_from_table_url"](f"table://{tmp_path}/secrets.db")
    assert repr(source) == "<Table of secrets>"
