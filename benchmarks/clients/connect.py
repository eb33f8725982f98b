"""ClickHouse's client for Python, clickhouse-connect, against the embedded engine."""
import datetime
import decimal
import os
import threading
import time
import unittest
import uuid

import clickhouse_connect
from clickhouse_connect.driver.external import ExternalData
from clickhouse_connect.driver.exceptions import DatabaseError, StreamFailureError

PORT = int(os.environ["CLICKHOUSE_PORT"])
ENDLESS = "SELECT max(sipHash64(number)) FROM numbers(100000000000)"
# Its error comes behind more output than a server keeps back.
BROKEN = "SELECT number, throwIf(number = 2900000) FROM numbers(3000000)"


def client(**options):
    return clickhouse_connect.get_client(host="127.0.0.1", port=PORT, database="plumbline", **options)


class Connect(unittest.TestCase):
    def setUp(self):
        self.c = client()
        self.addCleanup(self.c.close)

    def running(self, query_id):
        return client().query("SELECT count() FROM system.processes WHERE query_id = {id:String}", {"id": query_id}).first_row[0]

    def start(self, sql, query_id, **settings):
        """Starts a statement that does not end by itself; returns what waits for its error."""
        errors = []

        def run():
            try:
                with client() as c:
                    c.query(sql, settings={"query_id": query_id, **settings})
            except DatabaseError as e:
                errors.append(e)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        deadline = time.monotonic() + 10
        while not self.running(query_id):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.02)

        def error():
            thread.join(20)
            self.assertFalse(thread.is_alive(), "it still runs")
            return errors[0]

        return error

    def test_settings_end_with_their_request(self):
        with self.assertRaises(DatabaseError) as caught:
            self.c.query("SELECT sleepEachRow(0.1) FROM numbers(50)", settings={"max_execution_time": 1, "max_block_size": 1})
        self.assertEqual(caught.exception.code, 159)
        self.c.query("SELECT 1", settings={"readonly": 1, "max_threads": 3})
        self.assertEqual(self.c.query("SELECT toUInt64(getSetting('max_execution_time'))").first_row, (0,))
        self.c.command("CREATE OR REPLACE TABLE py_settings (a UInt8) ENGINE = MergeTree ORDER BY a")

    def test_session_keeps_what_it_was_told(self):
        self.c.command("CREATE TEMPORARY TABLE mine (a UInt8)")
        self.c.insert("mine", [[1], [2]], column_names=["a"])
        self.c.command("SET max_threads = 3")
        self.assertEqual(self.c.query("SELECT sum(a), toUInt64(getSetting('max_threads')) FROM mine").first_row, (3, 3))
        with self.assertRaises(DatabaseError):
            client().query("SELECT * FROM mine")

    def test_client_settings_hold_for_the_client(self):
        c = client(settings={"max_threads": 2})
        c.set_client_setting("max_block_size", 77)
        self.assertEqual(c.query("SELECT toUInt64(getSetting('max_threads')), toUInt64(getSetting('max_block_size'))").first_row, (2, 77))

    def test_query_id(self):
        r = self.c.query("SELECT queryID()", settings={"query_id": "py's"})
        self.assertEqual((r.query_id, r.first_row), ("py's", ("py's",)))
        self.assertNotEqual(self.c.query("SELECT 1").query_id, self.c.query("SELECT 1").query_id)

    def test_kill(self):
        query_id = str(uuid.uuid4())
        error = self.start(ENDLESS, query_id)
        self.c.command("KILL QUERY WHERE query_id = {id:String} SYNC", {"id": query_id})
        self.assertEqual(error().code, 394)
        self.assertEqual(self.running(query_id), 0)

    def test_timeout_of_the_server(self):
        began = time.monotonic()
        with self.assertRaises(DatabaseError) as caught:
            self.c.query(ENDLESS, settings={"max_execution_time": 1})
        self.assertEqual(caught.exception.code, 159)
        self.assertLess(time.monotonic() - began, 5)

    def test_progress_keeps_the_connection(self):
        # The client asks for progress every 10 s at least, and gives up after 11 s of silence.
        r = client(send_receive_timeout=11).query("SELECT sleepEachRow(1) FROM numbers(14) SETTINGS max_block_size = 1")
        self.assertEqual(r.row_count, 14)

    def test_error_before_the_answer(self):
        for sql, code, name in [("SELECT * FROM nowhere", 60, "UNKNOWN_TABLE"), ("SELEC 1", 62, "SYNTAX_ERROR"), ("SELECT missing FROM alerts", 47, "UNKNOWN_IDENTIFIER"),
                                ("SELECT throwIf(number = 5) FROM numbers(10)", 395, "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO"), ("SELECT * FROM file('/etc/passwd')", 497, "ACCESS_DENIED")]:
            with self.assertRaises(DatabaseError, msg=sql) as caught:
                self.c.query(sql)
            self.assertEqual((caught.exception.code, caught.exception.name), (code, name), sql)

    def test_error_in_mid_stream(self):
        for compress in (False, "lz4", "zstd", "gzip"):
            rows = 0
            with self.assertRaises((StreamFailureError, DatabaseError), msg=compress) as caught:
                with client(compress=compress).query_row_block_stream(BROKEN) as stream:
                    for block in stream:
                        rows += len(block)
            self.assertIn("FUNCTION_THROW_IF_VALUE_IS_NON_ZERO", str(caught.exception))
            self.assertGreater(rows, 100_000)

    def test_big_result(self):
        with self.c.query_rows_stream("SELECT number, toString(number) FROM numbers(3000000)") as stream:
            self.assertEqual(sum(row[0] for row in stream), 2999999 * 3000000 // 2)
        r = self.c.query("SELECT number FROM numbers(100000)")
        self.assertEqual((r.row_count, r.summary["result_rows"], r.summary["read_rows"]), (100000, "100000", "100000"))

    def test_compression(self):
        self.c.command("CREATE OR REPLACE TABLE py_packed (a UInt64, b String) ENGINE = MergeTree ORDER BY a")
        rows = [[i, f"it's \\ {i} \U0001f600"] for i in range(20000)]
        for compress in (False, True, "lz4", "zstd", "gzip"):
            c = client(compress=compress)
            c.command("TRUNCATE TABLE py_packed")
            self.assertEqual(c.insert("py_packed", rows, column_names=["a", "b"]).written_rows, 20000)
            self.assertEqual([list(r) for r in c.query("SELECT * FROM py_packed ORDER BY a").result_rows], rows, compress)

    def test_types(self):
        for sql, want in [
            ("NULL", None), ("toUInt256(7)", 7), ("toInt128(-5)", -5), ("1.5::Float64", 1.5), ("true", True), ("'\\0a'", "\0a"),
            ("toDecimal64(1.5, 4)", decimal.Decimal("1.5")), ("toDate('2020-01-02')", datetime.date(2020, 1, 2)),
            ("toDateTime64('2026-01-02 03:04:05.678', 3, 'UTC')", datetime.datetime(2026, 1, 2, 3, 4, 5, 678000)),
            ("toUUID('00000000-0000-0000-0000-000000000001')", uuid.UUID(int=1)), ("CAST('a' AS Enum8('a' = 1))", "a"), ("[[1], []]", [[1], []]),
            ("map('k', [1])", {"k": [1]}), ("tuple(1, 'x')", (1, "x")), ("toLowCardinality(toNullable('x'))", "x"), ("CAST('x' AS Variant(UInt64, String))", "x"),
            ("CAST(1 AS Dynamic)", 1), ("CAST('{\"a\": 1}' AS JSON)", {"a": 1}), ("toFixedString('ab', 2)", b"ab"),
        ]:
            self.assertEqual(self.c.query("SELECT " + sql).first_row[0], want, sql)
        self.assertEqual(self.c.query("SELECT INTERVAL 5 DAY, 7").first_row[1], 7)

    def test_parameters(self):
        when = datetime.datetime(2026, 1, 2, 3, 4, 5, 678000)
        got = self.c.query("SELECT {n:UInt8}, {s:String}, {d:DateTime64(3)}, {a:Array(String)}, {x:Nullable(String)}, {t:Identifier}.a FROM (SELECT 9 AS a) AS sub",
                           {"n": 5, "s": "it's\t\\\n", "d": when, "a": ["a'b", "c"], "x": None, "t": "sub"}).first_row
        self.assertEqual(got, (5, "it's\t\\\n", when, ["a'b", "c"], None, 9))

    def test_tables_that_come_with_a_statement(self):
        ext = ExternalData(file_name="ext", data=b"1,x\n2,y\n", fmt="CSV", structure="a UInt8, b String")
        for c in (self.c, client(username="reader", password=os.environ["READER_PASSWORD"])):
            self.assertEqual(c.query("SELECT b FROM ext WHERE a = {a:UInt8}", {"a": 2}, external_data=ext).result_rows, [("y",)])
        long = client(form_encode_query_params=True)
        self.assertEqual(long.query("SELECT length({s:String})", {"s": "x" * 3_000_000}).first_row, (3_000_000,))

    def test_reader(self):
        with self.assertRaises(DatabaseError) as caught:
            client(username="reader", password="wrong")
        self.assertEqual(caught.exception.code, 516)
        r = client(username="reader", password=os.environ["READER_PASSWORD"])
        self.assertEqual(r.query("SELECT count() FROM activity").first_row, (0,))
        self.assertEqual(r.query("SELECT number FROM numbers(5)").row_count, 5)
        for sql in ("CREATE TABLE t (a UInt8) ENGINE = Memory", "DROP TABLE activity_rows", "KILL QUERY WHERE 1", "SET max_threads = 1"):
            with self.assertRaises(DatabaseError, msg=sql) as caught:
                r.command(sql)
            self.assertEqual(caught.exception.code, 164, sql)


if __name__ == "__main__":
    unittest.main()
