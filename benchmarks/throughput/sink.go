package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ClickHouse/ch-go/compress"
	chproto "github.com/ClickHouse/ch-go/proto"
	"github.com/ClickHouse/clickhouse-go/v2/lib/column"
	"github.com/ClickHouse/clickhouse-go/v2/lib/proto"
)

// serveSink speaks as much of ClickHouse's HTTP interface as a client needs to
// insert: it reads every row and keeps none. GET /bytes says how many it read.
func serveSink() error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	var taken atomic.Int64
	mux := http.NewServeMux()
	mux.HandleFunc("GET /bytes", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, taken.Load())
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Query().Get("query"), "INSERT") {
			n, _ := io.Copy(io.Discard, r.Body)
			taken.Add(n)
			return
		}
		body, err := hello(r.URL.Query().Get("client_protocol_version"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		_, _ = w.Write(body)
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	fmt.Println(ln.Addr())
	go func() { _ = server.Serve(ln) }() // ends with the process
	untilInputEnds()
	return server.Close()
}

// hello answers "SELECT displayName(), version(), revision(), timezone()", the
// first query of every connection, as a compressed Native block.
func hello(revision string) ([]byte, error) {
	rev, err := strconv.ParseUint(revision, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("client_protocol_version: %w", err)
	}
	block := proto.NewBlock()
	for _, c := range [][2]string{{"displayName()", "String"}, {"version()", "String"}, {"revision()", "UInt32"}, {"timezone()", "String"}} {
		if err := block.AddColumn(c[0], column.Type(c[1])); err != nil {
			return nil, fmt.Errorf("hello: %w", err)
		}
	}
	if err := block.Append("sink", "26.7.3.1", uint32(rev), "UTC"); err != nil {
		return nil, fmt.Errorf("hello: %w", err)
	}
	var buf chproto.Buffer
	if err := block.Encode(&buf, rev); err != nil {
		return nil, fmt.Errorf("hello: %w", err)
	}
	w := compress.NewWriter(compress.LevelZero, compress.LZ4)
	if err := w.Compress(buf.Buf); err != nil {
		return nil, fmt.Errorf("hello: %w", err)
	}
	return w.Data, nil
}
