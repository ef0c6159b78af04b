"""One module a row of the table; each has `NAME`, `TITLE` and `run(options) -> RowResult`."""
