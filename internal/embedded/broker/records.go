package broker

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// slowUnpack is how much a batch may unpack to before it has to wait for its turn:
// beyond it, one batch is unpacked at a time, so that those who send such batches
// share one core between them and the others have the rest.
const slowUnpack = 16 << 20

// checkBatch says what is wrong with a batch of format 2 that a producer sent, as
// Kafka itself would: with its header, its checksum, its records one by one. budget
// is what it may unpack to, and is lessened by that. slow is called once if the
// batch is one that takes long; what it returns is called at the end.
//
// Errors: errTooLarge, errRecords, and that of slow.
func checkBatch(batch []byte, budget *int64, slow func() (func(), error)) error {
	if len(batch) > maxPacked {
		return fmt.Errorf("%w: a batch of %d bytes, the most is %d", errTooLarge, len(batch), maxPacked)
	}
	if len(batch) < atRecords || batch[atMagic] != 2 || int(binary.BigEndian.Uint32(batch[atLength:])) != len(batch)-atLength-4 {
		return nil // kfake looks at these itself, and has the right error
	}
	if binary.BigEndian.Uint32(batch[atCRC:]) != crc32.Checksum(batch[atAttrs:], castagnoli) {
		return nil // as well
	}
	n := int32(binary.BigEndian.Uint32(batch[atCount:]))
	switch {
	case n <= 0:
		// kfake would take it, and move the end of the log back by as many.
		return fmt.Errorf("%w: a batch of %d records", errRecords, n)
	case n > maxRecords:
		return fmt.Errorf("%w: %d records in a batch, the most is %d", errTooLarge, n, maxRecords)
	}
	u, err := newUnpacker(batch[atAttrs+1]&attrCodec, batch[atRecords:], *budget)
	if err != nil {
		return err
	}
	defer u.release()
	done := func() {}
	defer func() { done() }()
	u.slow = func() (err error) {
		done, err = slow()
		return err
	}
	left := *budget
	headers := int64(maxHeaders)
	for i := range int64(n) {
		if err := u.record(i, &headers); err != nil {
			if errors.Is(err, io.EOF) {
				err = fmt.Errorf("%w: cut off", errRecords)
			}
			return unpackError(err, i, n, left)
		}
	}
	*budget = u.budget + int64(u.w-u.r)
	if _, err := u.byte(); !errors.Is(err, io.EOF) {
		if err == nil {
			err = fmt.Errorf("%w: bytes after the last", errRecords)
		}
		return unpackError(err, int64(n), n, left)
	}
	return nil
}

func unpackError(err error, i int64, n int32, budget int64) error {
	if errors.Is(err, errTooLarge) {
		return fmt.Errorf("%w: it unpacks to more than the %d bytes that are left of the %d MiB for one request", err, budget, maxUnpacked>>20)
	}
	return fmt.Errorf("record %d of %d: %w", i, n, err)
}

// record passes over one record: its length; attributes, time delta, offset delta;
// key, value; headers.
func (u *unpacker) record(i int64, headers *int64) error {
	size, err := u.varint()
	if err != nil {
		return err
	}
	if size < 0 {
		return fmt.Errorf("%w: length %d", errRecords, size)
	}
	end := u.at() + size
	if _, err := u.byte(); err != nil {
		return err
	}
	time, err := u.varint()
	if err != nil {
		return err
	}
	u.moved = u.moved || time != 0
	delta, err := u.varint()
	if err != nil {
		return err
	}
	if delta != i {
		return fmt.Errorf("%w: offset delta %d", errRecords, delta)
	}
	for range 2 {
		if err := u.bytes(end, true); err != nil {
			return err
		}
	}
	count, err := u.varint()
	if err != nil {
		return err
	}
	if count < 0 || count > end-u.at() {
		return fmt.Errorf("%w: %d headers", errRecords, count)
	}
	if *headers -= count; *headers < 0 {
		return fmt.Errorf("%w: more than %d headers in a batch", errTooLarge, maxHeaders)
	}
	for range count {
		if err := u.bytes(end, false); err != nil {
			return err
		}
		if err := u.bytes(end, true); err != nil {
			return err
		}
	}
	if u.at() != end {
		return fmt.Errorf("%w: it does not fill its %d bytes", errRecords, size)
	}
	return nil
}

// bytes passes over a byte string inside a record that ends at end.
func (u *unpacker) bytes(end int64, nullable bool) error {
	n, err := u.varint()
	if err != nil {
		return err
	}
	if n < 0 && nullable {
		return nil
	}
	if n < 0 || n > end-u.at() {
		return fmt.Errorf("%w: %d bytes in the %d that are left of it", errRecords, n, end-u.at())
	}
	return u.skip(n)
}

func (u *unpacker) varint() (int64, error) {
	var v uint64
	for shift := 0; shift < 64; shift += 7 {
		b, err := u.byte()
		if err != nil {
			return 0, err
		}
		v |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return int64(v>>1) ^ -int64(v&1), nil
		}
	}
	return 0, fmt.Errorf("%w: a number of more than 64 bits", errRecords)
}
