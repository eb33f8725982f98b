package chdb

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/ClickHouse/ch-go/compress"
)

// output writes an answer: blocks re-encoded for the client's revision, then
// ClickHouse's compressed blocks, then HTTP's compression, each where asked for.
// Nothing is sent before there is as much as a server keeps back (buffer_size), so that
// an error found until then has its own status.
type output struct {
	w       *liveHead
	req     *request
	started time.Time
	sum     stats
	native  bool
	sent    bool
	pending []byte         // kept back
	tag     string         // marks an error in the midst of the output
	encoder io.WriteCloser // HTTP's compression
	blocks  *compress.Writer
}

func newOutput(w *liveHead, req *request, started time.Time) *output {
	return &output{w: w, req: req, started: started}
}

// begin says in which format the output will be.
func (o *output) begin(format string) {
	o.native = strings.EqualFold(format, "Native")
	o.w.Header().Set("X-ClickHouse-Format", format)
	o.w.Header().Set("Content-Type", contentType(format))
}

// summary notes what the statement did so far; what it did until something is sent is
// sent.
func (o *output) summary(s stats) { o.sum = s }

// commit sets the headers.
func (o *output) commit() {
	o.sent = true
	head := o.w.Header()
	elapsed := time.Since(o.started)
	head.Set("X-ClickHouse-Summary", fmt.Sprintf(
		`{"read_rows":"%d","read_bytes":"%d","written_rows":"%d","written_bytes":"%d","total_rows_to_read":"0","result_rows":"%d","result_bytes":"%d","elapsed_ns":"%d"}`,
		o.sum.readRows, o.sum.readBytes, o.sum.writtenRows, o.sum.writtenBytes, o.sum.resultRows, o.sum.resultBytes, elapsed.Nanoseconds()))
	if o.req.progress > 0 {
		head.Add("X-ClickHouse-Progress", fmt.Sprintf(`{"read_rows":"%d","read_bytes":"%d","total_rows_to_read":"0","elapsed_ns":"%d"}`,
			o.sum.readRows, o.sum.readBytes, elapsed.Nanoseconds()))
	}
	o.tag = nonce()[:16]
	head.Set("X-ClickHouse-Exception-Tag", o.tag)
}

// open sets the layers up.
func (o *output) open() error {
	o.commit()
	if o.req.encoding != "" {
		encoder, err := newEncoder(o.w, o.req.encoding)
		if err != nil {
			return err
		}
		o.encoder = encoder
		o.w.Header().Set("Content-Encoding", o.req.encoding)
	}
	if o.req.compress {
		method := compress.LZ4
		if o.req.method == "ZSTD" {
			method = compress.ZSTD
		}
		o.blocks = compress.NewWriter(compress.Level(o.req.level), method)
	}
	return nil
}

// write sends a piece.
func (o *output) write(data []byte) error {
	if len(data) == 0 {
		return nil
	}
	if o.native && o.req.revision > 0 {
		return o.recode(data)
	}
	return o.raw(data)
}

// compressedPiece bounds what goes into one compressed block.
const compressedPiece = 1 << 20

// raw keeps back what comes first, and sends the rest.
func (o *output) raw(data []byte) error {
	if o.sent {
		return o.send(data)
	}
	o.pending = append(o.pending, data...)
	if len(o.pending) <= o.req.buffer {
		return nil
	}
	return o.sendPending()
}

func (o *output) sendPending() error {
	if err := o.open(); err != nil {
		return err
	}
	data := o.pending
	o.pending = nil
	return o.send(data)
}

// send sends bytes through the compressions.
func (o *output) send(data []byte) error {
	if o.blocks == nil {
		return o.transport(data)
	}
	for len(data) > 0 {
		piece := data[:min(len(data), compressedPiece)]
		data = data[len(piece):]
		if err := o.blocks.Compress(piece); err != nil {
			return fmt.Errorf("compress: %w", err)
		}
		if err := o.transport(o.blocks.Data); err != nil {
			return err
		}
	}
	return nil
}

func (o *output) transport(data []byte) error {
	var err error
	if o.encoder != nil {
		_, err = o.encoder.Write(data)
	} else {
		_, err = o.w.Write(data)
	}
	if err != nil {
		return fmt.Errorf("send: %w", err)
	}
	return nil
}

// close ends the output.
func (o *output) close() error {
	if len(o.pending) > 0 {
		if err := o.sendPending(); err != nil {
			return err
		}
	}
	if !o.sent {
		o.commit()
		o.w.WriteHeader(http.StatusOK)
	}
	if o.encoder != nil {
		if err := o.encoder.Close(); err != nil {
			return fmt.Errorf("send: %w", err)
		}
	}
	return nil
}

// flush sends what the layers hold.
func (o *output) flush() {
	if f, ok := o.encoder.(interface{ Flush() error }); ok {
		_ = f.Flush() // what fails is met again by the next write
	}
	_ = o.w.FlushError()
}

// maxMarked bounds an error in the midst of the output, as a server does: clients
// look for its mark in the last piece alone.
const maxMarked = 16 << 10

// fail puts an error behind output that was sent already, as a server marks it,
// and reports whether that was the case. The length is that of the message with its
// line end: clients find its beginning by it.
func (o *output) fail(message string) bool {
	if !o.sent && !o.w.begun() {
		return false
	}
	if !o.sent {
		o.pending = nil
		if o.open() != nil {
			return true
		}
	}
	o.flush() // clients look at one piece: the mark is a piece of its own
	message = strings.ToValidUTF8(message[:min(len(message), maxMarked)], "") + "\n"
	text := "\r\n__exception__\r\n" + o.tag + "\r\n" + message + strconv.Itoa(len(message)) + " " + o.tag + "\r\n__exception__\r\n"
	if o.send([]byte(text)) == nil {
		_ = o.close() // whoever it was for sees the end missing
	}
	return true
}

// contentType is what ClickHouse says of a format.
func contentType(format string) string {
	f := strings.ToLower(format)
	names := "absent"
	if strings.Contains(f, "withnames") {
		names = "present"
	}
	switch {
	case strings.HasPrefix(f, "tabseparated"), strings.HasPrefix(f, "tsv"), strings.HasPrefix(f, "raw") && f != "rawblob":
		return "text/tab-separated-values; charset=UTF-8"
	case strings.HasPrefix(f, "csv"):
		return "text/csv; charset=UTF-8; header=" + names
	case strings.HasPrefix(f, "json") && strings.Contains(f, "eachrow"), f == "jsonlines", f == "ndjson":
		return "application/x-ndjson; charset=UTF-8"
	case strings.HasPrefix(f, "json"):
		return "application/json; charset=UTF-8"
	case f == "xml":
		return "application/xml; charset=UTF-8"
	case f == "native", strings.HasPrefix(f, "rowbinary"), f == "parquet", f == "orc", f == "avro", strings.HasPrefix(f, "arrow"), f == "rawblob", f == "msgpack":
		return "application/octet-stream"
	}
	return "text/plain; charset=UTF-8"
}
