"""The audit of sources with the fleet's names; its rules are tested with the core."""

from pathlib import Path

from pgp_services.ops.gates import audited, fleet_names

ROOT = Path(__file__).parents[2]


def test_our_own_sources_are_clean():
    assert audited([ROOT / "services" / "src"], fleet_names()) == []


def test_no_file_is_no_pass(tmp_path):
    (tmp_path / "README.md").write_text("")
    (finding,) = audited([tmp_path], fleet_names())
    assert (finding.rule, finding.text) == ("nothing-audited", "0 files audited")


def test_a_read_of_a_secret_of_the_catalogue_is_found(tmp_path):
    (tmp_path / "a.py").write_text("import os\nos.getenv('CHANGENOW_API_KEY')\n")
    assert [each.rule for each in audited([tmp_path], fleet_names())] == ["env-read"]
