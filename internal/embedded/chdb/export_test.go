package chdb

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// StatusNames are the errors with a status of their own, for the test that asks
// the engine for their names.
func StatusNames() map[int]string {
	names := map[int]string{}
	for code, s := range statusOf {
		names[code] = s.name
	}
	return names
}

// Decided is a list: what stands in it, and whether it is permitted. The list words has
// those of the language.
func Decided(list string) map[string]bool {
	if list != "words" {
		return readList(list).names
	}
	out := map[string]bool{}
	for word := range beforeParenthesis {
		out[strings.ToLower(word)] = true
	}
	return out
}

// Aggregates reports whether the function aggregates.
func Aggregates(name string) bool { return readLists().functions.aggregates[strings.ToLower(name)] }

// Cut are the names and strings of a text, and whether all of it is understood.
func Cut(source string) (tokens []string, understood bool) {
	l := &lexer{src: source}
	for tok := l.next(); tok.kind != eof; tok = l.next() {
		if tok.kind == broken {
			return nil, false
		}
		if tok.names() || tok.kind == text {
			tokens = append(tokens, tok.text)
		}
	}
	return tokens, true
}

// MissingWall is what the kernel has not.
var MissingWall = missingWall

// RawMain is a child without handler and list: it locks itself in, unless the arguments
// say not to, starts the engine and answers what it reads, line by line, one JSON string
// each. A line is a statement, or a probe of the process itself.
func RawMain(args []string) int {
	cfg, err := ParseChildArgs(args)
	if err == nil && os.Getenv("PLUMBLINE_TEST_CHDB_RAW") == "locked" {
		if err = lockIn(cfg); err == nil {
			err = refuseCalls()
		}
	}
	var e *engine
	if err == nil {
		e, err = bootEngine(cfg, defaultDatabase, Extension{})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var line string
		if in.Decode(&line) != nil {
			e.close()
			return 0
		}
		answer, err := probe(e, line)
		if err != nil {
			answer = "error: " + err.Error()
		}
		_ = out.Encode(answer)
	}
}

func probe(e *engine, line string) (string, error) {
	what, arg, _ := strings.Cut(line, " ")
	switch what {
	case "read":
		b, err := os.ReadFile(arg)
		return string(b), err
	case "write":
		return "written", os.WriteFile(arg, []byte("x"), 0o600)
	case "connect":
		conn, err := net.Dial("tcp", arg)
		if err == nil {
			err = conn.Close()
		}
		return "connected", err
	case "listen":
		ln, err := net.Listen("tcp", arg)
		if err == nil {
			err = ln.Close()
		}
		return "listening", err
	case "run":
		out, err := exec.Command(arg).Output()
		return string(out), err
	case "signal":
		pid, err := strconv.Atoi(arg)
		if err != nil {
			return "", err
		}
		return "signalled", syscall.Kill(pid, 0)
	}
	return e.base.text(line)
}
