"""Key files: created once, mode 0600, refused when anything about them is odd."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from appliance.audit.notes import COSIGNATURE_KEY, NOTE_KEY
from appliance.domain.errors import CannotCreateError, ConfigError
from appliance.storage.keys import create_key, read_key_text, read_signing_key, read_verifier

SEED = bytes(range(32))


def test_a_pair_of_files_is_made_once(tmp_path: Path) -> None:
    """Private 0600 in a directory 0700; the second try changes nothing."""
    made = create_key(tmp_path / "keys", "log", "audit.example/pi-0001", NOTE_KEY, SEED)
    private, public = tmp_path / "keys" / "log.key", tmp_path / "keys" / "log.vkey"
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700
    assert public.read_text() == (
        "audit.example/pi-0001+90e354e2+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4\n"
    )
    assert read_signing_key(private).verifier() == made == read_verifier(public, NOTE_KEY)
    assert read_key_text(public).place == str(public)
    before = private.read_bytes()
    with pytest.raises(CannotCreateError):
        create_key(tmp_path / "keys", "log", "audit.example/pi-0001", NOTE_KEY)
    assert private.read_bytes() == before


def test_without_a_seed_keys_differ(tmp_path: Path) -> None:
    """Thirty-two random bytes each."""
    one = create_key(tmp_path, "a", "witness.example/w1", COSIGNATURE_KEY)
    two = create_key(tmp_path, "b", "witness.example/w1", COSIGNATURE_KEY)
    assert one.public != two.public


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\nb"])
def test_a_name_no_note_can_carry_is_refused(tmp_path: Path, name: str) -> None:
    """Before anything is written."""
    with pytest.raises(ConfigError):
        create_key(tmp_path / "keys", "log", name, NOTE_KEY)
    assert not (tmp_path / "keys").exists()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o700, 0o644, 0o777])
def test_a_key_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    """Any bit beyond 0600 is one too many; the message names the file, not its content."""
    create_key(tmp_path, "log", "audit.example/pi-0001", NOTE_KEY, SEED)
    private = tmp_path / "log.key"
    private.chmod(mode)
    with pytest.raises(ConfigError, match=f"its mode is {mode:04o}") as caught:
        read_signing_key(private)
    assert str(private) in caught.value.why
    private.chmod(0o400)
    read_signing_key(private)


@pytest.mark.parametrize("content", [b"", b"\n", b"garbage", b"\xff\xfe", b"PRIVATE+KEY+x+00000000+AAAA\n"])
def test_empty_or_garbage_is_refused(tmp_path: Path, content: bytes) -> None:
    """With the file's name and without its content."""
    private = tmp_path / "log.key"
    private.write_bytes(content)
    private.chmod(0o600)
    with pytest.raises(ConfigError, match=r"log\.key"):
        read_signing_key(private)


def test_an_empty_key_is_called_empty(tmp_path: Path) -> None:
    """What a full disk or a crash of something else leaves."""
    (tmp_path / "log.key").touch(mode=0o600)
    with pytest.raises(ConfigError, match="the file is empty"):
        read_signing_key(tmp_path / "log.key")


def test_no_flipped_bit_of_a_private_key_is_read(tmp_path: Path) -> None:
    """Name, id and seed hang together."""
    create_key(tmp_path, "log", "audit.example/pi-0001", NOTE_KEY, SEED)
    private = tmp_path / "log.key"
    whole = private.read_bytes()
    for at in range(len(whole)):
        for bit in range(8):
            changed = bytearray(whole)
            changed[at] ^= 1 << bit
            private.write_bytes(bytes(changed))
            with pytest.raises(ConfigError):
                read_signing_key(private)


def test_absent_link_directory_and_foreign_files_are_refused(tmp_path: Path) -> None:
    """The key lies where it was created, and it is ours."""
    with pytest.raises(ConfigError) as caught:
        read_signing_key(tmp_path / "log.key")
    assert caught.value.do == "interlock init"
    create_key(tmp_path, "log", "audit.example/pi-0001", NOTE_KEY, SEED)
    (tmp_path / "link.key").symlink_to(tmp_path / "log.key")
    with pytest.raises(ConfigError):
        read_signing_key(tmp_path / "link.key")
    (tmp_path / "directory.key").mkdir()
    with pytest.raises(ConfigError, match="not a regular file"):
        read_signing_key(tmp_path / "directory.key")
    if os.geteuid() == 0:
        os.chown(tmp_path / "log.key", 65534, -1)
        with pytest.raises(ConfigError, match="belongs to user 65534"):
            read_signing_key(tmp_path / "log.key")


def test_verifier_keys_have_a_kind(tmp_path: Path) -> None:
    """A witness's key in the place of the log's is a configuration error."""
    create_key(tmp_path, "witness", "witness.example/w1", COSIGNATURE_KEY, SEED)
    with pytest.raises(ConfigError, match="not a log's key"):
        read_verifier(tmp_path / "witness.vkey", NOTE_KEY)
    (tmp_path / "bad.vkey").write_text("nonsense\n")
    with pytest.raises(ConfigError, match=r"bad\.vkey"):
        read_verifier(tmp_path / "bad.vkey", NOTE_KEY)
    with pytest.raises(ConfigError, match="no such file"):
        read_verifier(tmp_path / "none.vkey", NOTE_KEY)
