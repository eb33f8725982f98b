// Package datadir checks and mends what kfake keeps on the disk, before kfake opens
// it. Left to itself kfake cuts a log where it meets the first byte that is wrong, with
// one line that names no record; then committed offsets lie beyond the end of their
// logs, offsets are given twice, and the service refuses to start for a reason that is
// not the true one.
//
// Invariants:
//
//  1. Nothing is deleted: a file that is changed stays beside itself, under its name
//     and ".damaged-" and a number, as it was.
//  2. Every record whose batch has its checksum is kept, with its offset, also behind
//     damage.
//  3. The end of a log never moves back, so committed offsets stay valid and no offset
//     is given twice. Offsets that are lost are covered by an empty batch, as a
//     compacted log of Kafka has them.
//  4. What is lost is said once, in one line: topic, partition, offsets, bytes, where
//     they are kept, what to do.
//  5. What a process that was killed leaves half written was never acknowledged. It is
//     cut off, and that is no damage.
//
// The layout, which is kfake's: meta.json, topics.json and others; groups.log and
// pids.log, framed entries (frames.go); partitions/<topic>-<partition>/ with
// <first offset>.dat, record batches as on the wire (segment.go), <first offset>.idx,
// 15 bytes for each batch (index.go), and snapshot.json, written when the broker is
// stopped (partition.go).
package datadir

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/rs/zerolog"
)

// FileError says that a file can't be used, and what to do about it.
type FileError struct {
	Path, Reason, Do string
}

func (e *FileError) Error() string {
	return fmt.Sprintf("%s is damaged (%s); %s", e.Path, e.Reason, e.Do)
}

// topicsFile is topics.json.
type topicsFile struct {
	Version int     `json:"version"`
	Topics  []topic `json:"topics"`
}

type topic struct {
	Name       string            `json:"name"`
	ID         string            `json:"id"`
	Partitions int               `json:"partitions"`
	Configs    map[string]string `json:"configs"`
}

// compacted says that batches may be missing from the log without anything being wrong.
func (t *topic) compacted() bool { return strings.Contains(t.Configs["cleanup.policy"], "compact") }

// maxPartitions of a topic, or the number is not what was written.
const maxPartitions = 1 << 20

// Mend checks a data directory and mends what can be mended. Where it can't be, the
// error is a *FileError, and nothing was changed for it.
func Mend(dir, clusterID string, log zerolog.Logger) error {
	partitions, err := os.ReadDir(filepath.Join(dir, "partitions"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("list partitions: %w", err)
	}
	topics, err := readTopics(dir, len(partitions))
	if err != nil {
		return err
	}
	if topics == nil {
		return nil // a new directory
	}
	if err := checkOthers(dir); err != nil {
		return err
	}
	if err := checkOrphans(dir, topics, partitions); err != nil {
		return err
	}
	if err := mendMeta(dir, clusterID, log); err != nil {
		return err
	}
	groups, err := mendFrames(filepath.Join(dir, "groups.log"),
		"a consumer group may go back to an earlier commit and read records again, which changes nothing that is stored", log)
	if err != nil {
		return err
	}
	if _, err := mendFrames(filepath.Join(dir, "pids.log"), "a producer may be given a new id, which it asks for by itself", log); err != nil {
		return err
	}
	committed := commits(groups)
	for i := range topics {
		for p := range topics[i].Partitions {
			m := partition{
				dir: partitionDir(dir, topics[i].Name, p), topic: topics[i].Name, part: p, compacted: topics[i].compacted(),
				committed: committed[partKey{topics[i].Name, p}], log: log,
			}
			if err := m.mend(); err != nil {
				return fmt.Errorf("topic %s, partition %d: %w", topics[i].Name, p, err)
			}
		}
	}
	return nil
}

// partitionName is a directory that kfake may have made.
var partitionName = regexp.MustCompile(`-[0-9]+$`)

// partitionDir is where kfake keeps a partition.
func partitionDir(dir, topic string, part int) string {
	return filepath.Join(dir, "partitions", fmt.Sprintf("%s-%d", url.PathEscape(topic), part))
}

// readTopics returns the topics; nil where there are no data at all.
func readTopics(dir string, partitions int) ([]topic, error) {
	path := filepath.Join(dir, "topics.json")
	bad := func(reason string) error {
		return &FileError{
			Path: path, Reason: reason,
			Do: "put back a copy of it; without one, move " + dir + " away and start with an empty directory: the records are in its directory partitions, but nothing says any more whose they are",
		}
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		if partitions > 0 {
			return nil, bad("it is missing, and there are partitions")
		}
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read topics: %w", err)
	}
	var f topicsFile
	if err := json.Unmarshal(data, &f); err != nil {
		return nil, bad(err.Error())
	}
	for _, t := range f.Topics {
		id, err := base64.StdEncoding.DecodeString(t.ID) // kfake writes beyond its end where it is longer
		switch {
		case err != nil || len(id) != 16:
			return nil, bad(fmt.Sprintf("topic %q has the id %q", t.Name, t.ID))
		case t.Name == "" || t.Partitions < 0 || t.Partitions > maxPartitions:
			return nil, bad(fmt.Sprintf("topic %q has %d partitions", t.Name, t.Partitions))
		}
	}
	if f.Topics == nil {
		f.Topics = []topic{}
	}
	return f.Topics, nil
}

// checkOrphans refuses a directory that belongs to no topic: a topic that is created
// under its name would go on in it. kfake removes a topic's directories before it
// forgets the topic, so no process that was killed leaves one.
func checkOrphans(dir string, topics []topic, partitions []os.DirEntry) error {
	known := make(map[string]bool)
	for i := range topics {
		for p := range topics[i].Partitions {
			known[filepath.Base(partitionDir(dir, topics[i].Name, p))] = true
		}
	}
	for _, p := range partitions {
		if p.IsDir() && partitionName.MatchString(p.Name()) && !known[p.Name()] {
			return &FileError{
				Path: filepath.Join(dir, "topics.json"), Reason: "it has no topic for the directory partitions/" + p.Name(),
				Do: "put back a copy of it; or, if these records are not needed, move that directory out of " + dir,
			}
		}
	}
	return nil
}

// checkOthers checks the files that the broker can do without.
func checkOthers(dir string) error {
	for _, name := range []string{"broker_configs.json", "acls.json", "quotas.json", "seq_windows.json"} {
		path := filepath.Join(dir, name)
		data, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		var f struct {
			Version int `json:"version"`
		}
		if err := json.Unmarshal(data, &f); err != nil {
			return &FileError{Path: path, Reason: err.Error(), Do: "move it away: the broker makes a new one, and neither records nor committed offsets are in it"}
		}
	}
	return nil
}

// mendMeta writes meta.json anew where it can't be read: without it kfake takes the
// directory for a new one, and begins by forgetting all topics.
func mendMeta(dir, clusterID string, log zerolog.Logger) error {
	path := filepath.Join(dir, "meta.json")
	data, err := os.ReadFile(path)
	var f struct {
		Version   int    `json:"version"`
		ClusterID string `json:"cluster_id"`
	}
	switch {
	case err == nil && json.Unmarshal(data, &f) == nil && f.Version > 0:
		return nil
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("read meta: %w", err)
	}
	kept := ""
	if err == nil {
		if kept, err = setAside(path, 0); err != nil {
			return err
		}
	}
	f.Version, f.ClusterID = 1, clusterID
	if data, err = json.Marshal(f); err != nil {
		return fmt.Errorf("encode meta: %w", err)
	}
	if err := replace(path, data); err != nil {
		return err
	}
	log.Warn().Str("file", path).Str("kept", kept).Msg("embedded kafka: meta.json was damaged or missing and is written anew; nothing is lost, nothing has to be done")
	return nil
}

// setAside keeps a file as it is under another name, and returns that.
func setAside(path string, number int64) (string, error) {
	for try := 1; ; try++ {
		kept := fmt.Sprintf("%s.damaged-%d", path, number)
		if try > 1 {
			kept = fmt.Sprintf("%s-%d", kept, try)
		}
		err := os.Link(path, kept)
		if err == nil {
			err = os.Chmod(kept, 0o600) // kfake lets everybody read
			if err != nil {
				return "", fmt.Errorf("set the damaged file aside: %w", err)
			}
			return kept, nil
		}
		if errors.Is(err, os.ErrExist) {
			continue
		}
		// A file system without links.
		data, err := os.ReadFile(path)
		if err == nil {
			err = replace(kept, data)
		}
		if err != nil {
			return "", fmt.Errorf("set the damaged file aside: %w", err)
		}
		return kept, nil
	}
}

// replace puts a file in the place of another, all of it or nothing.
func replace(path string, parts ...[]byte) (err error) {
	// kfake removes what is left of it, by its name.
	temp := path + ".tmp"
	if err := os.Remove(temp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("write %s: %w", path, err)
	}
	f, err := os.OpenFile(temp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	for _, p := range parts {
		if _, werr := f.Write(p); werr != nil && err == nil {
			err = werr
		}
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, errors.Join(err, os.Remove(temp)))
	}
	return nil
}
