"""What is checked before a release; `scripts/release-check` runs it, `docs/policies.md` says when."""
