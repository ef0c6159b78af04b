"""A directory of files as a source, beside the contract: mounts, swaps, and what is no file."""

import errno
import os
from pathlib import Path

import pytest

from pgp_config import (
    DeclarationError,
    RejectedVersion,
    SecretForbidden,
    SecretNotFound,
    SecretUnavailable,
)
from pgp_config.sources import Directory

needs_pipes = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes")


class Mount:
    """A directory as the kubelet writes it: KEY -> ..data/KEY, ..data -> ..1, swapped by a rename."""

    def __init__(self, path):
        self.path = path
        self._count = 0

    def publish(self, **values):
        self._count += 1
        new = self.path / f"..{self._count}"
        new.mkdir()
        for name, value in values.items():
            (new / name).write_text(value)
        (self.path / "..tmp").symlink_to(new.name)
        old = self.path / "..data"
        gone = old.resolve() if old.is_symlink() else None
        (self.path / "..tmp").rename(old)
        for name in values:
            if not (self.path / name).is_symlink():
                (self.path / name).symlink_to(f"..data/{name}")
        if gone is not None:
            self.remove(gone)

    def remove(self, directory):
        for file in directory.iterdir():
            file.unlink()
        directory.rmdir()


@pytest.fixture
def mount(tmp_path):
    return Mount(tmp_path)


def test_a_swap_of_the_mount_is_seen_by_the_next_fetch(mount):
    source = Directory(mount.path)
    mount.publish(KEY="one", USER="u1")
    assert source.fetch("KEY").data == b"one"
    mount.publish(KEY="two", USER="u1")
    assert source.fetch("KEY").data == b"two"
    assert source.fetch("KEY").version == 2
    assert source.fetch("USER").version == 1


def test_a_swap_while_a_file_is_read_gives_the_old_contents_whole(mount, monkeypatch):
    mount.publish(KEY="old-" * 10_000)
    really = os.open

    def open_and_swap(path, flags):
        handle = really(path, flags)
        monkeypatch.undo()
        mount.publish(KEY="new-" * 10_000)
        return handle

    monkeypatch.setattr(os, "open", open_and_swap)
    source = Directory(mount.path)
    assert source.fetch("KEY").data == b"old-" * 10_000
    assert source.fetch("KEY").data == b"new-" * 10_000


def test_a_swap_before_a_file_is_opened_is_tried_once_more(mount, monkeypatch):
    mount.publish(KEY="old")

    def swap_and_miss(path, _):
        monkeypatch.undo()
        mount.publish(KEY="new")
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", os.fspath(path))

    monkeypatch.setattr(os, "open", swap_and_miss)
    assert Directory(mount.path).fetch("KEY").data == b"new"


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SecretNotFound, match="there is no file") as caught:
        Directory(tmp_path).fetch("KEY")
    assert str(tmp_path / "KEY") in str(caught.value)
    assert isinstance(caught.value.__cause__, FileNotFoundError)
    assert caught.value.__cause__.__traceback__ is None


def test_a_missing_directory_is_no_missing_secret(tmp_path):
    with pytest.raises(SecretUnavailable, match="there is no directory") as caught:
        Directory(tmp_path / "absent").fetch("KEY")
    assert not isinstance(caught.value, SecretNotFound)


def test_a_file_in_place_of_the_directory_is_no_directory(tmp_path):
    file = tmp_path / "file"
    file.write_text("canary")
    with pytest.raises(SecretUnavailable, match="there is no directory"):
        Directory(file).fetch("KEY")


def test_a_directory_in_place_of_a_file_is_refused(tmp_path):
    tmp_path.joinpath("KEY").mkdir()
    with pytest.raises(SecretUnavailable, match="is not a file"):
        Directory(tmp_path).fetch("KEY")


@needs_pipes
def test_a_pipe_in_place_of_a_file_is_refused_and_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "KEY")
    with pytest.raises(SecretUnavailable, match="is not a file"):
        Directory(tmp_path).fetch("KEY")


def test_a_loop_of_links_says_so(tmp_path):
    tmp_path.joinpath("KEY").symlink_to("KEY")
    with pytest.raises(SecretUnavailable, match=r"cannot be read \(ELOOP\)"):
        Directory(tmp_path).fetch("KEY")


def test_a_failing_mount_says_so(tmp_path, monkeypatch):
    def fail(path, _):
        raise OSError("no number")

    monkeypatch.setattr(os, "open", fail)
    with pytest.raises(SecretUnavailable, match=r"cannot be read \(OSError\)"):
        Directory(tmp_path).fetch("KEY")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads all")
def test_a_file_without_the_right_to_read_it_is_forbidden(
    tmp_path,
):  # pragma: no cover  # not as root
    tmp_path.joinpath("KEY").write_text("canary")
    tmp_path.joinpath("KEY").chmod(0)
    with pytest.raises(SecretForbidden):
        Directory(tmp_path).fetch("KEY")


def test_64_kib_are_the_most(tmp_path):
    file = tmp_path / "KEY"
    file.write_bytes(b"x" * 65_536)
    assert len(Directory(tmp_path).fetch("KEY").data) == 65_536
    file.write_bytes(b"x" * 65_537)
    with pytest.raises(RejectedVersion, match="larger than 65536 bytes"):
        Directory(tmp_path).fetch("KEY")


@pytest.mark.parametrize("name", ["..", "...", "..data", "a\\b", "C:", "a b", "x" * 254, 7, None])
def test_no_name_leads_out_of_the_directory(tmp_path, name):
    with pytest.raises(SecretNotFound, match="cannot be named"):
        Directory(tmp_path / "secrets").fetch(name)


def test_a_name_with_dots_and_dashes_is_a_name(tmp_path):
    tmp_path.joinpath("tls-key_1.pem").write_text("one")
    assert Directory(tmp_path).fetch("tls-key_1.pem").data == b"one"


def test_a_relative_path_is_that_of_this_moment(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = Directory("secrets")
    monkeypatch.chdir(Path("/"))
    tmp_path.joinpath("secrets").mkdir()
    tmp_path.joinpath("secrets", "KEY").write_text("one")
    assert source.fetch("KEY").data == b"one"


@pytest.mark.parametrize("path", ["", "a\0b", b"/run/secrets", None, 7])
def test_what_is_no_path_is_refused(path):
    with pytest.raises(DeclarationError, match="is not the path of a directory"):
        Directory(path)


def test_it_shows_its_path(tmp_path):
    assert repr(Directory(tmp_path)) == f"Directory({str(tmp_path)!r})"
