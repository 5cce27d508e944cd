// Checks a published audit log with golang.org/x/mod/sumdb, the library behind Go's checksum database.
//
//	verify [-seen OLDER-CHECKPOINT] LOG VKEY
//
// LOG is a directory with the files of C2SP tlog-tiles: checkpoint, tile/. VKEY is a file with the log's
// verifier key, received from the log's owner by another way than the log. It exits 0 and says VERIFIED,
// or 1 and says REFUSED and why. This file only opens files: signatures are judged by sumdb/note; leaf
// hashes, root, tiles and consistency by sumdb/tlog. Nothing of Interlock is used.
//
// Build it with nothing but Debian's packages golang-go and golang-golang-x-mod-dev:
//
//	GO111MODULE=off GOPATH=/usr/share/gocode go build -o verify tests/outside/sumdb/main.go
package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// height of a tile: 256 hashes. C2SP leaves the number out of the path that sumdb gives.
const height = 8

// log is a log's published files below a directory, and all hashes of its tree as tlog makes them of the entries.
type log struct {
	directory string
	head      tlog.Tree
	hashes    []tlog.Hash
}

func (l *log) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	found := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		if index >= int64(len(l.hashes)) {
			return nil, fmt.Errorf("hash %d is not there yet", index)
		}
		found[i] = l.hashes[index]
	}
	return found, nil
}

// read returns a tile's file; where the log has grown past a partial tile, the full one that replaced it.
func (l *log) read(tile tlog.Tile) (data []byte, grown bool, err error) {
	data, err = os.ReadFile(filepath.Join(l.directory, path(tile)))
	if errors.Is(err, fs.ErrNotExist) && tile.W < 1<<height {
		tile.W = 1 << height
		if full, failed := os.ReadFile(filepath.Join(l.directory, path(tile))); failed == nil {
			return full, true, nil
		}
	}
	return data, false, err
}

func path(tile tlog.Tile) string {
	name := strings.TrimPrefix(tile.Path(), fmt.Sprintf("tile/%d/", height))
	if rest := strings.TrimPrefix(name, "data/"); rest != name {
		name = "entries/" + rest
	}
	return "tile/" + name
}

// open verifies a checkpoint's signature and returns the head it speaks of.
func open(file string, verifier note.Verifier) (tlog.Tree, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return tlog.Tree{}, err
	}
	opened, err := note.Open(data, note.VerifierList(verifier))
	if err != nil {
		return tlog.Tree{}, fmt.Errorf("signature of %s: %w", filepath.Base(file), err)
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) < 4 || lines[0] != verifier.Name() {
		return tlog.Tree{}, fmt.Errorf("%s is not a checkpoint of %s", filepath.Base(file), verifier.Name())
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 0 {
		return tlog.Tree{}, fmt.Errorf("%s has no size", filepath.Base(file))
	}
	root, err := base64.StdEncoding.DecodeString(lines[2])
	if err != nil || len(root) != tlog.HashSize {
		return tlog.Tree{}, fmt.Errorf("%s has no root", filepath.Base(file))
	}
	head := tlog.Tree{N: size}
	copy(head.Hash[:], root)
	return head, nil
}

// entries reads all bundles and lets tlog make the tree of them; its root must be the head's.
func (l *log) entries() error {
	for start := int64(0); start < l.head.N; start += 1 << height {
		bundle := tlog.Tile{H: height, L: -1, N: start >> height, W: width(l.head.N - start)}
		data, grown, err := l.read(bundle)
		if err != nil {
			return err
		}
		for i := start; i < start+int64(bundle.W); i++ {
			if len(data) < 2 || len(data) < 2+int(binary.BigEndian.Uint16(data)) {
				return fmt.Errorf("%s is cut at entry %d", path(bundle), i)
			}
			end := 2 + int(binary.BigEndian.Uint16(data))
			made, err := tlog.StoredHashes(i, data[2:end], l)
			if err != nil {
				return err
			}
			l.hashes = append(l.hashes, made...)
			data = data[end:]
		}
		if len(data) > 0 && !grown {
			return fmt.Errorf("%s holds more than its entries", path(bundle))
		}
	}
	root := tlog.Hash(sha256.Sum256(nil))
	if l.head.N > 0 {
		var err error
		if root, err = tlog.TreeHash(l.head.N, l); err != nil {
			return err
		}
	}
	if root != l.head.Hash {
		return fmt.Errorf("the %d entries have another root than the checkpoint says", l.head.N)
	}
	return nil
}

// tiles compares every tile with the one tlog makes of the entries. It does so itself because tlog's
// TileHashReader, before x/mod 0.40, leaves up to two tiles of each question unchecked (CVE-2026-56865).
func (l *log) tiles() error {
	for level := 0; l.head.N>>(level*height) > 0; level++ {
		items := l.head.N >> (level * height)
		for first := int64(0); first < items; first += 1 << height {
			tile := tlog.Tile{H: height, L: level, N: first >> height, W: width(items - first)}
			data, grown, err := l.read(tile)
			if err != nil {
				return err
			}
			made, err := tlog.ReadTileData(tile, l)
			if err != nil {
				return err
			}
			if grown && len(data) > len(made) {
				data = data[:len(made)]
			}
			if !bytes.Equal(data, made) {
				return fmt.Errorf("%s does not hold the hashes of the entries", path(tile))
			}
		}
	}
	return nil
}

// width is that of a tile with so many items from its first on.
func width(items int64) int {
	if items > 1<<height {
		return 1 << height
	}
	return int(items)
}

// follows checks that a head is no older than one seen before, nor another of the same size.
func (l *log) follows(seen tlog.Tree) error {
	if seen.N > l.head.N {
		return fmt.Errorf("the head of %d is older than one seen before, of %d", l.head.N, seen.N)
	}
	if seen.N == l.head.N && seen.Hash != l.head.Hash {
		return fmt.Errorf("two heads of one size, %d", l.head.N)
	}
	return nil
}

// goesOn checks that a smaller head seen before is the beginning of this log.
func (l *log) goesOn(seen tlog.Tree) error {
	if seen.N == 0 || seen.N == l.head.N {
		return nil
	}
	proof, err := tlog.ProveTree(l.head.N, seen.N, l)
	if err != nil {
		return err
	}
	if err := tlog.CheckTree(proof, l.head.N, l.head.Hash, seen.N, seen.Hash); err != nil {
		return fmt.Errorf("the head of %d seen before is no beginning of this log: %w", seen.N, err)
	}
	return nil
}

func verify(directory, keyFile, seenFile string) (string, error) {
	key, err := os.ReadFile(keyFile)
	if err != nil {
		return "", err
	}
	verifier, err := note.NewVerifier(strings.TrimSpace(string(key)))
	if err != nil {
		return "", fmt.Errorf("%s: %w", keyFile, err)
	}
	head, err := open(filepath.Join(directory, "checkpoint"), verifier)
	if err != nil {
		return "", err
	}
	seen := head
	if seenFile != "" {
		if seen, err = open(seenFile, verifier); err != nil {
			return "", err
		}
	}
	found := &log{directory: directory, head: head}
	if err := found.follows(seen); err != nil {
		return "", err
	}
	if err := found.entries(); err != nil {
		return "", err
	}
	if err := found.tiles(); err != nil {
		return "", err
	}
	if err := found.goesOn(seen); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d entries of %s, root %x", head.N, verifier.Name(), head.Hash[:8]), nil
}

func main() {
	seen := flag.String("seen", "", "a checkpoint of this log kept from an earlier look")
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: verify [-seen OLDER-CHECKPOINT] LOG VKEY")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() != 2 {
		flag.Usage()
		os.Exit(2)
	}
	found, err := verify(flag.Arg(0), flag.Arg(1), *seen)
	if err != nil {
		fmt.Println("REFUSED:", err)
		os.Exit(1)
	}
	fmt.Printf("VERIFIED: %s (golang.org/x/mod/sumdb, %s)\n", found, runtime.Version())
}
