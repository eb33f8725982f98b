package chdb

import (
	"encoding/xml"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/plumbline-sec/plumbline/internal/embedded/claim"
)

// The engine reads a configuration as a server does, and where it is given none
// it looks for one in the working directory, the home directory and /etc. It is
// given one, so that what runs does not depend on where it runs.
//
// fsync: an insert is acknowledged when its part is on the disk, so that a power
// cut takes nothing that was acknowledged either.
//
// keep_free_space: a part whose files meet a full disk while they are closed can be
// kept with an empty one among them, and is then unreadable (26.7: the marks of a
// merged part). The engine is made to refuse inserts and merges, cleanly, before
// that; the broker beside it stops at half of it.
//
// The memory limits fit a machine that has other things to do.
const engineXML = `<clickhouse>
    <user_directories><users_xml><path>%s</path></users_xml></user_directories>
    <merge_tree>
        <fsync_after_insert>1</fsync_after_insert>
        <fsync_part_directory>1</fsync_part_directory>
    </merge_tree>
    <storage_configuration><disks><default>
        <keep_free_space_bytes>%d</keep_free_space_bytes>
    </default></disks></storage_configuration>
    <max_server_memory_usage_to_ram_ratio>0.5</max_server_memory_usage_to_ram_ratio>
    <mark_cache_size>268435456</mark_cache_size>
    <index_mark_cache_size>67108864</index_mark_cache_size>
    <mmap_cache_size>100</mmap_cache_size>
    <max_thread_pool_size>1000</max_thread_pool_size>
    <send_logs_level>none</send_logs_level>
%s</clickhouse>
`

// The engine knows one user, default, whom the library signs in; but that user may do only
// what a warehouse needs. Its rights are in roles, of which a connection of the reader
// (users.go) keeps the lesser. It has none of the sources
// (file, url, remote): in a server, file() is confined to one directory, here it would
// read whatever this process may read. Of SYSTEM it has what holds back and catches up,
// not what ends or reconfigures the engine.
//
// check.go looks at statements before they come here; what is not granted is refused
// even where something got past it.
const usersXML = `<clickhouse>
    <profiles><default>
        <input_format_values_interpret_expressions>0</input_format_values_interpret_expressions>
        <input_format_values_deduce_templates_of_expressions>0</input_format_values_deduce_templates_of_expressions>
    </default></profiles>
    <quotas><default></default></quotas>
    <roles>
        <warehouse>
            <grants>
%s            </grants>
        </warehouse>
        <reader>
            <grants>
%s            </grants>
        </reader>
    </roles>
    <users>
        <default>
            <password></password>
            <networks><ip>::/0</ip></networks>
            <profile>default</profile>
            <quota>default</quota>
            <grants><query>GRANT warehouse, reader</query></grants>
        </default>
    </users>
</clickhouse>
`

// grants are what the role warehouse may do.
var grants = []string{
	"GRANT SHOW, SELECT, INSERT, DROP, UNDROP TABLE, TRUNCATE, OPTIMIZE, CHECK, KILL QUERY ON *.*",
	"GRANT CREATE DATABASE, CREATE TABLE, CREATE VIEW, CREATE TEMPORARY TABLE, CREATE ARBITRARY TEMPORARY TABLE ON *.*",
	"GRANT ALTER UPDATE, ALTER DELETE, ALTER COLUMN, ALTER MODIFY COMMENT, ALTER ORDER BY, ALTER SAMPLE BY, ALTER INDEX, ALTER STATISTICS, ALTER PROJECTION, " +
		"ALTER CONSTRAINT, ALTER TTL, ALTER MATERIALIZE TTL, ALTER SETTINGS, ALTER MOVE PARTITION, ALTER VIEW MODIFY QUERY ON *.*",
	"GRANT SYSTEM MERGES, SYSTEM TTL MERGES, SYSTEM CLEANUP, SYSTEM VIEWS, SYSTEM WAIT LOADING PARTS, SYSTEM FLUSH LOGS, SYSTEM FLUSH ASYNC INSERT QUEUE, " +
		"SYSTEM DROP MARK CACHE, SYSTEM DROP UNCOMPRESSED CACHE, SYSTEM DROP QUERY CACHE, SYSTEM DROP QUERY CONDITION CACHE, SYSTEM DROP COMPILED EXPRESSION CACHE ON *.*",
}

// writeConfig writes the engine's configuration into dir and returns the file. The reader
// reads the database.
func writeConfig(dir, database string, extension Extension) (string, error) {
	var queries, reads strings.Builder
	write := func(to *strings.Builder, query string) {
		to.WriteString("                <query>")
		_ = xml.EscapeText(to, []byte(query)) // a builder takes everything
		to.WriteString("</query>\n")
	}
	grant := func(query string) { write(&queries, query) }
	write(&reads, "GRANT SELECT ON "+quoteIdentifier(database)+".*")
	// For what comes with a statement (external.go); readonly = 1 keeps CREATE from the reader.
	write(&reads, "GRANT CREATE TEMPORARY TABLE ON *.*")
	write(&reads, "GRANT TABLE ENGINE ON Memory")
	for _, query := range extension.rights() {
		grant(query)
	}
	users := filepath.Join(dir, "users.xml")
	if err := os.WriteFile(users, fmt.Appendf(nil, usersXML, queries.String(), reads.String()), 0o600); err != nil {
		return "", fmt.Errorf("write the engine's users: %w", err)
	}
	var path strings.Builder
	if err := xml.EscapeText(&path, []byte(users)); err != nil {
		return "", fmt.Errorf("write the engine's configuration: %w", err)
	}
	file := filepath.Join(dir, "engine.xml")
	if err := os.WriteFile(file, fmt.Appendf(nil, engineXML, path.String(), claim.KeepFree, extension.XML), 0o600); err != nil {
		return "", fmt.Errorf("write the engine's configuration: %w", err)
	}
	return file, nil
}
