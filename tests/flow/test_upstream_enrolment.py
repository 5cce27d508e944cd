"""Tokens and changes of keys over HTTP: a device comes and goes on under its next key, no stranger does."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import aiohttp
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from appliance.audit.checkpoint import Checkpoint, sign_checkpoint
from appliance.audit.key_notes import MAX_KEY_NOTE, sign_rotation
from appliance.audit.notes import COSIGNATURE_KEY, SigningKey
from appliance.runtime.cli import main
from appliance.runtime.config_load import EXAMPLE
from appliance.storage.log_client import LogSettings
from appliance.storage.log_reader import LogReader
from appliance.storage.log_rotate import rotate
from appliance.storage.log_rotations import rotation_notes
from appliance.upstream.client import UpstreamClient, UpstreamSettings, UpstreamState
from appliance.upstream.enrolment import hash_token, sign_enrolment
from appliance.upstream.enrolment_store import EnrolmentStore, create_enrolment_store
from appliance.upstream.exchange import Exchange
from appliance.upstream.witness import Request
from tests.audit_support import LOG, MIRROR, WITNESS, MemoryLog, new_log, run, write
from tests.flow.test_upstream_collector import NOW_S, collecting, prepared

TOKEN = "ab" * 32
DEVICE = SigningKey("audit.example/pi-0002", bytes([2]) * 32)
MODEL = MemoryLog(5)


def with_store(directory: Path, *tokens: str) -> Path:
    """The collector's directory, with those tokens."""
    place = prepared(directory).directory
    create_enrolment_store(place)
    with closing(EnrolmentStore(place)) as store:
        for token in tokens:
            store.add_token(hash_token(token), NOW_S, NOW_S + 60)
    return place


async def offer(log: LogSettings, url: str, rotations: Sequence[bytes] | None = None) -> UpstreamState:
    """One offer of the log as it stands, to witness and mirror; rotations: those of the log unless given."""
    with closing(LogReader(log.directory)) as reader:
        told = rotation_notes(each.body for each in reader.entries_of_kind("key"))
        client = UpstreamClient(
            UpstreamSettings(
                directory=log.directory,
                log_key=LOG.verifier(),
                witness_key=WITNESS.verifier(COSIGNATURE_KEY),
                mirror_key=MIRROR.verifier(COSIGNATURE_KEY),
                rotations=tuple(told if rotations is None else rotations),
            ),
            reader,
            Exchange(url),
            now_ns=lambda: 1,
            uniform=lambda low, _high: low,
        )
        await client.offer_last(30.0)
        return client.state


def test_a_log_goes_on_at_witness_and_mirror_by_its_rotations(tmp_path: Path) -> None:
    """Without a token; two at once when it was offline; after a restart of the collector as well."""
    with_store(tmp_path)
    log = new_log(tmp_path / "box")

    async def work() -> None:
        write(log, 5)
        async with collecting(prepared(tmp_path)) as (url, _):
            state = await offer(log, url)
            assert (state.witnessed, state.mirrored, state.alarm) == (5, 5, "")
            for number in (5, 6):
                rotate(log.key_file, log.directory, (1, 1), seed=bytes([number]) * 32)
                write(log, 2)
            state = await offer(log, url)
            assert (state.witnessed, state.mirrored, state.alarm) == (11, 11, ""), state
        async with collecting(prepared(tmp_path)) as (url, _):
            write(log, 1)
            state = await offer(log, url)
            assert (state.witnessed, state.mirrored, state.alarm) == (12, 12, "")
            forged = sign_checkpoint(Checkpoint(LOG.name, 13, bytes(32)), LOG)
            async with aiohttp.ClientSession() as http:
                body = Request(12, (), forged).encode()
                async with http.post(f"{url}/add-checkpoint", data=body) as reply:
                    assert reply.status == 403, "the first key has had its time"

    run(work())


def test_a_key_without_a_rotation_is_an_alarm(tmp_path: Path) -> None:
    """The log's next head is signed by a key the witness was never led to: it refuses, the client stops."""
    with_store(tmp_path)
    log = new_log(tmp_path / "box")
    stranger = SigningKey(LOG.name, bytes([9]) * 32)

    async def work() -> None:
        async with collecting(prepared(tmp_path)) as (url, _):
            async with aiohttp.ClientSession() as http:
                note = sign_rotation(0, bytes(32), stranger, SigningKey(LOG.name, bytes([8]) * 32))
                async with http.post(f"{url}/rotate-key", data=note.encode()) as reply:
                    assert reply.status == 403
                forged = sign_checkpoint(Checkpoint(LOG.name, 5, MODEL.root(5)), stranger)
                async with http.post(f"{url}/add-checkpoint", data=Request(0, (), forged).encode()) as reply:
                    assert reply.status == 403
            write(log, 3)
            assert (await offer(log, url)).witnessed == 3
            rotate(log.key_file, log.directory, (1, 1))
            write(log, 1)
            silent = await offer(log, url, ())
            assert "cannot be used" in silent.last_error + silent.alarm

    run(work())


def test_a_device_with_a_token_is_taken_at_once(tmp_path: Path) -> None:
    """Of two that bring it at the same moment one; it is witnessed without a restart, and after one."""
    place = with_store(tmp_path, TOKEN)
    rival = SigningKey("audit.example/pi-0003", bytes([3]) * 32)
    checkpoint = {
        key.name: sign_checkpoint(Checkpoint(key.name, 5, MODEL.root(5)), key) for key in (DEVICE, rival)
    }

    async def work() -> None:
        async with collecting(prepared(tmp_path)) as (url, _), aiohttp.ClientSession() as http:

            async def post(path: str, body: bytes) -> int:
                async with http.post(f"{url}/{path}", data=body) as reply:
                    return reply.status

            assert await post("add-checkpoint", Request(0, (), checkpoint[DEVICE.name]).encode()) == 404
            asked = [post("enrol", sign_enrolment(TOKEN, key)) for key in (DEVICE, rival)]
            answers = await asyncio.gather(*asked)
            assert sorted(answers) == [200, 403]
            taken, other = (DEVICE, rival) if answers[0] == 200 else (rival, DEVICE)
            assert await post("add-checkpoint", Request(0, (), checkpoint[taken.name]).encode()) == 200
            assert await post("add-checkpoint", Request(0, (), checkpoint[other.name]).encode()) == 404
            assert await post("enrol", sign_enrolment(TOKEN, other)) == 403
        async with collecting(prepared(tmp_path)) as (url, _), aiohttp.ClientSession() as http:
            body = Request(5, (), checkpoint[taken.name]).encode()
            async with http.post(f"{url}/add-checkpoint", data=body) as reply:
                assert reply.status == 200

    run(work())
    with closing(EnrolmentStore(place)) as store:
        assert len(store.logs()) == 1


def test_a_collector_without_a_store_takes_neither(tmp_path: Path) -> None:
    """As one that was made before there were tokens: it goes on as it was."""
    prepared(tmp_path)

    async def work() -> None:
        async with collecting(prepared(tmp_path)) as (url, _), aiohttp.ClientSession() as http:
            for path in ("enrol", "rotate-key"):
                async with http.post(f"{url}/{path}", data=sign_enrolment(TOKEN, DEVICE)) as reply:
                    assert reply.status == 404
            async with http.get(f"{url}/healthz") as reply:
                assert reply.status == 200

    run(work())


@settings(deadline=None, derandomize=True, max_examples=6, phases=[Phase.generate])
@given(
    bodies=st.lists(
        st.one_of(
            st.binary(max_size=300),
            st.integers(0, 200).map(lambda at: sign_enrolment(TOKEN, DEVICE)[:at]),
            st.integers(MAX_KEY_NOTE - 1, MAX_KEY_NOTE + 2).map(bytes),
        ),
        min_size=8,
        max_size=8,
    )
)
def test_whatever_is_posted_the_collector_answers_and_goes_on(
    tmp_path_factory: pytest.TempPathFactory, bodies: list[bytes]
) -> None:
    """Any body on either path: refused as malformed, too long or not good; then a good one is still taken."""
    directory = tmp_path_factory.mktemp("fuzz")
    with_store(directory, TOKEN)

    async def work() -> None:
        async with collecting(prepared(directory)) as (url, _), aiohttp.ClientSession() as http:
            for body in bodies:
                for path in ("enrol", "rotate-key"):
                    async with http.post(f"{url}/{path}", data=body) as reply:
                        assert reply.status in ((413,) if len(body) > MAX_KEY_NOTE else (400, 403))
            async with http.post(f"{url}/enrol", data=sign_enrolment(TOKEN, DEVICE)) as reply:
                assert reply.status == 200

    run(work())


def test_from_a_token_on_one_machine_to_an_enrolled_box_on_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`collector --token` there, `keys enrol` here; the second time the token is refused."""
    there, here = tmp_path / "there", tmp_path / "here"
    words = ["--state", str(here), "--runtime", str(tmp_path / "run")]
    assert main(["init", "--state", str(here)]) == 0
    with_store(there)
    state = tmp_path / "state"
    assert main(["init", "--state", str(state)]) == 0
    capsys.readouterr()
    for hours in ("0", "721"):
        assert main(["collector", "--token", "--hours", hours, "--state", str(state)]) == 2
    assert main(["collector", "--token", "--state", str(state)]) == 0
    token = capsys.readouterr().out.splitlines()[-1]
    assert len(bytes.fromhex(token)) == 32
    with closing(EnrolmentStore(state / "collector")) as store:
        (kept,) = store.tokens()
    assert kept.hash == hash_token(token)
    with closing(EnrolmentStore(prepared(there).directory)) as store:
        store.add_token(kept.hash, NOW_S, NOW_S + 60)

    async def work() -> None:
        async with collecting(prepared(there)) as (url, _):
            config = here / "interlock.toml"
            port = url.rpartition(":")[2]
            config.write_text(EXAMPLE.read_text().replace("127.0.0.1:8482", f"127.0.0.1:{port}"))
            for code in (0, 1):
                monkeypatch.setattr("sys.stdin", io.StringIO(f"{token}\n"))
                assert await asyncio.to_thread(main, ["keys", "enrol", *words]) == code

    run(work())
    printed = capsys.readouterr().out.splitlines()
    assert printed == [
        f"trust/witness.vkey  {WITNESS.verifier(COSIGNATURE_KEY).vkey}",
        f"trust/mirror.vkey  {MIRROR.verifier(COSIGNATURE_KEY).vkey}",
    ]
