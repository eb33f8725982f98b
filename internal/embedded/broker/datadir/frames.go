package datadir

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"os"

	"github.com/rs/zerolog"
)

// An entry of groups.log and pids.log: its length after these two numbers, its
// checksum, its version, JSON. kfake stops reading at the first entry that is wrong,
// and then appends behind it what it will not read at the next start.
const (
	frameLength  = 0
	frameCRC     = 4
	frameVersion = 8
	frameData    = 10
	maxFrame     = 1 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// frameAt is the length of the sound entry that begins at raw, or 0.
func frameAt(raw []byte) int {
	if len(raw) < frameData {
		return 0
	}
	n := int64(binary.LittleEndian.Uint32(raw[frameLength:]))
	if n < frameData-frameVersion || n > maxFrame || n > int64(len(raw)-frameVersion) || raw[frameVersion] == 0 || raw[frameVersion+1] != 0 {
		return 0
	}
	end := frameVersion + int(n)
	if crc32.Checksum(raw[frameVersion:end], castagnoli) != binary.LittleEndian.Uint32(raw[frameCRC:]) {
		return 0
	}
	return end
}

// frames are the sound entries of a log, as they stand there.
type frames struct {
	sound  [][]byte
	lost   int   // bytes that are in no sound entry
	first  int64 // where the first of those is
	inside bool  // an entry that was whole once is among them
}

func readFrames(raw []byte) frames {
	f := frames{first: -1}
	for pos := 0; pos < len(raw); {
		if n := frameAt(raw[pos:]); n > 0 {
			f.sound = append(f.sound, raw[pos:pos+n])
			pos += n
			continue
		}
		if f.first < 0 {
			f.first = int64(pos)
		}
		next := pos + 1
		for next < len(raw) && frameAt(raw[next:]) == 0 {
			next++
		}
		// What ends with the file and is not as long as it says was being written when
		// the process died; so were zeros, when the machine did.
		torn := next == len(raw) && (next-pos < frameData || int64(binary.LittleEndian.Uint32(raw[pos:])) > int64(next-pos-frameVersion))
		if !torn && len(bytes.Trim(raw[pos:next], "\x00")) > 0 {
			f.inside = true
		}
		f.lost += next - pos
		pos = next
	}
	return f
}

// mendFrames leaves the sound entries in a log, and returns them. means says what the
// loss of one comes to.
func mendFrames(path, means string, log zerolog.Logger) ([][]byte, error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read log: %w", err)
	}
	f := readFrames(raw)
	if f.lost == 0 {
		return f.sound, nil
	}
	kept := ""
	if f.inside {
		if kept, err = setAside(path, f.first); err != nil {
			return nil, err
		}
	}
	if err := replace(path, f.sound...); err != nil {
		return nil, err
	}
	if f.inside {
		log.Error().Str("file", path).Int64("at", f.first).Int("bytes", f.lost).Str("kept", kept).
			Msg("embedded kafka: a file is damaged: entries in it can't be read and are lost, all others are kept. " + means + ". The file is kept as it was; nothing has to be done")
	} else {
		log.Info().Str("file", path).Int("bytes", f.lost).Msg("embedded kafka: cut off an entry that was not written to its end")
	}
	return f.sound, nil
}

type partKey struct {
	topic string
	part  int
}

// maxCommit is an offset that no log reaches; whoever commits more means mischief.
const maxCommit = 1 << 53

// commits are the greatest offsets that groups have committed.
func commits(entries [][]byte) map[partKey]int64 {
	type groupKey struct {
		group string
		partKey
	}
	last := make(map[groupKey]int64)
	for _, e := range entries {
		var c struct {
			Type   string `json:"type"`
			Group  string `json:"g"`
			Topic  string `json:"t"`
			Part   int    `json:"p"`
			Offset int64  `json:"o"`
		}
		if json.Unmarshal(e[frameData:], &c) != nil {
			continue
		}
		key := groupKey{c.Group, partKey{c.Topic, c.Part}}
		switch c.Type {
		case "commit":
			last[key] = c.Offset
		case "delete":
			delete(last, key)
		}
	}
	out := make(map[partKey]int64)
	for key, offset := range last {
		if offset <= maxCommit {
			out[key.partKey] = max(out[key.partKey], offset)
		}
	}
	return out
}
