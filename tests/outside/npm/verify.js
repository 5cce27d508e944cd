// Checks a published audit log with npm's @sigstore/verify, as its client checks entries of Sigstore's Rekor log.
//
//     NODE_PATH=DIR/node_modules node verify.js LOG VKEY-FILE [OLDER-CHECKPOINT]
//
// The package judges the checkpoint's signature (verifyCheckpoint), the inclusion proof of every entry
// (verifyMerkleInclusion) and, for the first and last, both together as it does for a bundle
// (verifyTLogInclusion). Proofs are put together here out of the published tiles. It has no consistency
// proofs: of a head seen before, only size and, at the same size, root are compared. Nothing of ours is used.
"use strict";

const { createHash, createPublicKey } = require("node:crypto");
const fs = require("node:fs");
const path = require("node:path");
const { verifyTLogInclusion } = require("@sigstore/verify/dist/tlog/index.js");
const { verifyCheckpoint } = require("@sigstore/verify/dist/tlog/checkpoint.js");
const { verifyMerkleInclusion } = require("@sigstore/verify/dist/tlog/merkle.js");

const WIDTH = 256;
const HASH = 32;
const DER = Buffer.from("302a300506032b6570032100", "hex"); // before an Ed25519 public key (RFC 8410)

class Refused extends Error {}

function readKey(text) {
  const [, name, id, key] = /^([^+]+)\+([0-9a-f]{8})\+(\S+)$/.exec(text.trim()); // base64 may have a + of its own
  const raw = Buffer.from(key, "base64");
  const der = Buffer.concat([DER, raw.subarray(1)]);
  const publicKey = createPublicKey({ key: der, format: "der", type: "spki" });
  return { name, baseURL: name, logID: Buffer.from(id, "hex"), publicKey };
}

function place(level, index) {
  const groups = [];
  for (let rest = index; groups.length === 0 || rest > 0; rest = Math.floor(rest / 1000)) {
    groups.unshift(String(rest % 1000).padStart(3, "0"));
  }
  const name = groups.map((group, at) => (at < groups.length - 1 ? `x${group}` : group)).join("/");
  return `tile/${level < 0 ? "entries" : level}/${name}`;
}

class Files {
  constructor(directory, size) {
    this.directory = directory;
    this.size = size;
    this.tiles = new Map();
  }

  read(level, index) {
    const width = Math.min(WIDTH, Math.floor(this.size / WIDTH ** Math.max(level, 0)) - index * WIDTH);
    const full = place(level, index);
    const name = width === WIDTH ? full : `${full}.p/${width}`;
    for (const candidate of new Set([name, full])) {
      const file = path.join(this.directory, candidate);
      const grown = candidate !== name;
      if (fs.existsSync(file)) return { name: candidate, data: fs.readFileSync(file), width, grown };
    }
    throw new Refused(`${name} is missing`);
  }

  tile(level, index) {
    const key = `${level}/${index}`;
    if (!this.tiles.has(key)) {
      const { name, data, width, grown } = this.read(level, index);
      const own = grown ? data.subarray(0, width * HASH) : data;
      const due = width * HASH;
      if (own.length !== due) throw new Refused(`${name}: ${own.length} bytes where ${due} are due`);
      const rows = [Array.from({ length: width }, (_, at) => own.subarray(at * HASH, (at + 1) * HASH))];
      while (rows.at(-1).length > 1) {
        const below = rows.at(-1);
        rows.push(Array.from({ length: below.length >> 1 }, (_, at) => join(below[2 * at], below[2 * at + 1])));
      }
      this.tiles.set(key, rows);
    }
    return this.tiles.get(key);
  }

  bundle(index) {
    const { name, data, width, grown } = this.read(-1, index);
    const entries = [];
    let at = 0;
    for (let number = index * WIDTH; number < index * WIDTH + width; number += 1) {
      const length = at + 2 <= data.length ? data.readUInt16BE(at) : Infinity;
      if (at + 2 + length > data.length) throw new Refused(`${name} is cut at entry ${number}`);
      entries.push(data.subarray(at + 2, at + 2 + length));
      at += 2 + length;
    }
    if (at !== data.length && !grown) throw new Refused(`${name} holds more than its entries`);
    return entries;
  }

  node(height, index) {
    if ((index + 1) * 2 ** height > this.size) {
      const [left, right] = [2 * index, 2 * index + 1];
      if (right * 2 ** (height - 1) >= this.size) return this.node(height - 1, left);
      return join(this.node(height - 1, left), this.node(height - 1, right));
    }
    const level = Math.floor(height / 8), row = height % 8, inTile = WIDTH >> row;
    return this.tile(level, Math.floor(index / inTile))[row][index % inTile];
  }

  proof(entry) {
    const found = [];
    for (let index = entry, last = this.size - 1, height = 0; index !== last || index; height += 1) {
      if (index & 1) found.push(this.node(height, index - 1));
      else if (index < last) found.push(this.node(height, index + 1));
      index >>= 1;
      last >>= 1;
    }
    return found;
  }
}

function join(left, right) {
  return createHash("sha256").update(Buffer.from([1])).update(left).update(right).digest();
}

function readHead(file, key) {
  if (!fs.existsSync(file)) throw new Refused(`${path.basename(file)} cannot be read: no such file`);
  const envelope = fs.readFileSync(file, "utf8");
  const checkpoint = verifyCheckpoint({ inclusionProof: { checkpoint: { envelope } } }, [key]);
  if (checkpoint.origin !== key.name) throw new Refused(`the checkpoint is none of ${key.name}`);
  return { envelope, checkpoint, size: Number(checkpoint.logSize) };
}

function check(directory, keyFile, older) {
  const key = readKey(fs.readFileSync(keyFile, "utf8"));
  const head = readHead(path.join(directory, "checkpoint"), key);
  if (older !== undefined) {
    const seen = readHead(older, key);
    if (seen.size > head.size) {
      throw new Refused(`the head of ${head.size} is older than one seen before, of ${seen.size}`);
    }
    const same = seen.checkpoint.logHash.equals(head.checkpoint.logHash);
    if (seen.size === head.size && !same) throw new Refused(`two heads of one size, ${head.size}`);
  }
  const files = new Files(directory, head.size);
  for (let first = 0; first < head.size; first += WIDTH) {
    files.bundle(first / WIDTH).forEach((entry, at) => judge(files, head, key, first + at, entry));
  }
  const empty = createHash("sha256").digest();
  if (head.size === 0 && !head.checkpoint.logHash.equals(empty)) {
    throw new Refused("the root of no entries is another one");
  }
  return `${head.size} entries of ${key.name}, root ${head.checkpoint.logHash.toString("hex").slice(0, 16)}`;
}

function judge(files, head, key, index, canonicalizedBody) {
  const checkpoint = { envelope: head.envelope };
  const inclusionProof = { logIndex: String(index), hashes: files.proof(index), checkpoint };
  const entry = { canonicalizedBody, inclusionProof, logId: { keyId: key.logID } };
  try {
    if (index === 0 || index === head.size - 1) verifyTLogInclusion(entry, [key]);
    else verifyMerkleInclusion(entry, head.checkpoint);
  } catch (error) {
    if (error instanceof Refused) throw error;
    throw new Refused(`entry ${index}: ${error.message}`);
  }
}

try {
  console.log(`VERIFIED: ${check(...process.argv.slice(2))}`);
} catch (error) {
  if (!(error instanceof Refused) && error.constructor.name !== "VerificationError") throw error;
  console.log(`REFUSED: ${error.message}`);
  process.exitCode = 1;
}
