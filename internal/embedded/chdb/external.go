package chdb

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// external is a table that comes with a statement and is gone with it: a file of a
// multipart body. The body's other fields are parameters as those of the URL, which is
// how clients send long ones.
type external struct {
	name, structure, format string
	rows                    []byte
}

const (
	maxExternal = 64 << 20 // the files of a body, which are held in memory
	maxParts    = 1000
)

func multiparts(r *http.Request) bool {
	return strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/")
}

// readParts reads a multipart body, and merges its fields into the URL's.
func readParts(r *http.Request, body io.Reader, query url.Values) ([]external, error) {
	_, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		return nil, newException(36, "BAD_ARGUMENTS", "Content-Type: "+err.Error())
	}
	parts := multipart.NewReader(body, params["boundary"])
	files := map[string][]byte{}
	var names []string
	size := 0
	for range maxParts {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			return externals(names, files, query)
		}
		if err != nil {
			return nil, fmt.Errorf("read the parts of the body: %w", err)
		}
		data, err := io.ReadAll(io.LimitReader(part, int64(maxExternal-size)+1))
		if err != nil {
			return nil, fmt.Errorf("read the parts of the body: %w", err)
		}
		if size += len(data); size > maxExternal {
			return nil, newException(48, "NOT_IMPLEMENTED", "A multipart body of more than "+strconv.Itoa(maxExternal)+" bytes is not served by the embedded ClickHouse")
		}
		// clickhouse-go's files have an empty name.
		_, disposition, _ := mime.ParseMediaType(part.Header.Get("Content-Disposition")) // NextPart has read it
		_, isFile := disposition["filename"]
		if name := part.FormName(); !isFile {
			query.Add(name, string(data))
		} else {
			names = append(names, name)
			files[name] = data
		}
	}
	return nil, newException(36, "BAD_ARGUMENTS", "A multipart body of too many parts")
}

// externals are the tables of the files; what describes them is taken out of the query.
func externals(names []string, files map[string][]byte, query url.Values) ([]external, error) {
	var out []external
	for _, name := range names {
		take := func(key string) string {
			value := query.Get(name + key)
			query.Del(name + key)
			return value
		}
		t := external{name: name, structure: take("_structure"), format: take("_format"), rows: files[name]}
		if types := take("_types"); t.structure == "" && types != "" {
			columns := strings.Split(types, ",")
			for i := range columns {
				columns[i] = "_" + strconv.Itoa(i+1) + " " + columns[i]
			}
			t.structure = strings.Join(columns, ", ")
		}
		if t.format == "" {
			t.format = "TabSeparated"
		}
		if t.structure == "" {
			return nil, newException(36, "BAD_ARGUMENTS", "The external table "+shortened(name)+" has neither "+name+"_structure nor "+name+"_types")
		}
		out = append(out, t)
	}
	return out, nil
}

// check refuses what a description hides: it goes into a statement of ours.
func (t external) check() error {
	if err := checkFormat(t.format); err != nil {
		return err
	}
	l := &lexer{src: t.structure}
	depth := 0
	for tok := l.next(); tok.kind != eof; tok = l.next() {
		depth += tok.nesting()
		if tok.kind == broken || depth < 0 || tok.is(";") {
			depth = -1
			break
		}
	}
	if depth != 0 || len(l.comments) > 0 {
		return newException(62, "SYNTAX_ERROR", "Syntax error in the structure of the external table "+shortened(t.name))
	}
	return parseStatement(t.create()).check(false, true)
}

func (t external) create() string {
	return "CREATE TEMPORARY TABLE " + quoteIdentifier(t.name) + " (" + t.structure + ") ENGINE = Memory"
}

// addExternals makes the request's tables on its connection, and returns how many it made.
func (s *session) addExternals(tables []external) (made int, _ error) {
	for _, t := range tables {
		if _, err := s.text(t.create()); err != nil {
			return made, err
		}
		made++
		in, err := s.insert("INSERT INTO "+quoteIdentifier(t.name), t.format, nil)
		if err != nil {
			return made, err
		}
		for rows := bytes.NewBuffer(t.rows); rows.Len() > 0 && in.append(rows.Next(insertPiece)); {
			continue
		}
		_, err = in.done()
		in.close()
		if err != nil {
			return made, err
		}
	}
	return made, nil
}

// dropExternals is for a connection that is kept: a table of the session's own that has
// the name of one of the request's stays.
func (s *session) dropExternals(tables []external) error {
	for _, t := range tables {
		if _, err := s.text("DROP TEMPORARY TABLE IF EXISTS " + quoteIdentifier(t.name)); err != nil {
			return err
		}
	}
	return nil
}
