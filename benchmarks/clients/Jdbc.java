import java.sql.*;
import java.util.*;
import java.util.concurrent.*;

/** ClickHouse's JDBC driver against the embedded engine. */
public class Jdbc {
    static final String URL = "jdbc:clickhouse://127.0.0.1:" + System.getenv("CLICKHOUSE_PORT") + "/plumbline";
    static final String ENDLESS = "SELECT max(sipHash64(number)) FROM numbers(100000000000)";

    interface Case { void run() throws Exception; }

    static int passed, failed;

    static void test(String name, Case c) {
        try {
            // What hangs is a failure too.
            ExecutorService one = Executors.newSingleThreadExecutor(r -> { Thread t = new Thread(r); t.setDaemon(true); return t; });
            one.submit(() -> { c.run(); return null; }).get(60, TimeUnit.SECONDS);
            passed++;
        } catch (Exception e) {
            failed++;
            System.out.println("FAILED: " + name);
            (e instanceof ExecutionException ? e.getCause() : e).printStackTrace(System.out);
        }
    }

    static void equal(Object got, Object want) {
        if (!Objects.equals(got, want)) throw new AssertionError("got " + got + ", want " + want);
    }

    static void fails(int code, Case c) throws Exception {
        try {
            c.run();
        } catch (SQLException e) {
            equal(e.getErrorCode(), code);
            return;
        }
        throw new AssertionError("no error, want " + code);
    }

    static Connection connect(String... properties) throws SQLException {
        Properties p = new Properties();
        p.setProperty("user", "default");
        for (int i = 0; i < properties.length; i += 2) p.setProperty(properties[i], properties[i + 1]);
        return DriverManager.getConnection(URL, p);
    }

    static List<Object> row(Connection c, String sql) throws SQLException {
        try (Statement s = c.createStatement(); ResultSet r = s.executeQuery(sql)) {
            List<Object> out = new ArrayList<>();
            if (r.next()) for (int i = 1; i <= r.getMetaData().getColumnCount(); i++) out.add(r.getObject(i));
            return out;
        }
    }

    static void execute(Connection c, String sql) throws SQLException {
        try (Statement s = c.createStatement()) { s.execute(sql); }
    }

    /** How many statements with this text run. */
    static void awaitRunning(Connection c, String mark, int want) throws Exception {
        for (int i = 0; i < 500; i++) {
            if (row(c, "SELECT toInt32(count()) FROM system.processes WHERE query LIKE '%" + mark + "%' AND query NOT LIKE '%processes%'").get(0).equals(want)) return;
            Thread.sleep(20);
        }
        throw new AssertionError("not " + want + " of " + mark);
    }

    public static void main(String[] args) throws Exception {
        try (Connection c = connect()) {
            statements(c);
            ends(c);
            types(c);
            inserts(c);
        }
        users();
        System.out.println(passed + " passed, " + failed + " failed");
        System.exit(failed > 0 ? 1 : 0);
    }

    static void statements(Connection c) {
        test("metadata", () -> {
            if (!c.getMetaData().getDatabaseProductVersion().startsWith("26.")) throw new AssertionError(c.getMetaData().getDatabaseProductVersion());
            int tables = 0, columns = 0;
            for (ResultSet r = c.getMetaData().getTables(null, "plumbline", "%", null); r.next();) tables++;
            for (ResultSet r = c.getMetaData().getColumns(null, "plumbline", "alerts", "%"); r.next();) columns++;
            if (tables < 7 || columns < 40) throw new AssertionError(tables + " tables, " + columns + " columns");
            equal(c.isValid(2), true);
        });
        test("big result", () -> {
            long sum = 0;
            try (Statement s = c.createStatement(); ResultSet r = s.executeQuery("SELECT number, toString(number) FROM numbers(2000000)")) {
                while (r.next()) sum += r.getLong(1);
            }
            equal(sum, 1999999L * 1000000);
        });
        test("errors", () -> {
            fails(60, () -> row(c, "SELECT * FROM nowhere"));
            fails(62, () -> row(c, "SELECT FROM WHERE"));
            fails(497, () -> row(c, "SELECT * FROM file('/etc/passwd')"));
            fails(395, () -> row(c, "SELECT throwIf(number = 5) FROM numbers(10)"));
            fails(395, () -> row(c, "SELECT number, throwIf(number = 2900000) FROM numbers(3000000)"));
            equal(row(c, "SELECT 1::Int32"), List.of(1));
        });
        test("settings", () -> {
            try (Connection set = connect("clickhouse_setting_max_threads", "3")) {
                equal(row(set, "SELECT toInt32(getSetting('max_threads'))"), List.of(3));
            }
            if (row(c, "SELECT toInt32(getSetting('max_threads'))").equals(List.of(3))) throw new AssertionError("it stays");
        });
        test("schema", () -> {
            c.setSchema("system");
            equal(row(c, "SELECT currentDatabase()"), List.of("system"));
            c.setSchema("plumbline");
            equal(row(c, "SELECT currentDatabase()"), List.of("plumbline"));
        });
        for (String compression : new String[] {"compress=false", "compress=true", "decompress=true&compress=true", "client.use_http_compression=true"}) {
            test(compression, () -> {
                try (Connection packed = DriverManager.getConnection(URL + "?" + compression, "default", "")) {
                    equal(row(packed, "SELECT sum(n), count() FROM (SELECT number AS n FROM numbers(300000))").get(1).toString(), "300000");
                    execute(packed, "CREATE OR REPLACE TABLE java_packed (a Int32) ENGINE = MergeTree ORDER BY a");
                    execute(packed, "INSERT INTO java_packed VALUES (7)");
                    equal(row(packed, "SELECT a FROM java_packed"), List.of(7));
                }
            });
        }
    }

    static void ends(Connection c) {
        test("cancel", () -> {
            try (Statement s = c.createStatement(); Connection other = connect()) {
                String sql = ENDLESS + " WHERE 'cancelled' != ''";
                Thread t = new Thread(() -> { try { awaitRunning(other, "cancelled", 1); s.cancel(); } catch (Throwable e) { e.printStackTrace(); } });
                t.start();
                fails(394, () -> s.executeQuery(sql));
                t.join();
                awaitRunning(other, "cancelled", 0);
            }
        });
        test("kill", () -> {
            try (Connection other = connect()) {
                String sql = ENDLESS + " WHERE 'killed' != ''";
                Thread t = new Thread(() -> {
                    try {
                        awaitRunning(other, "killed", 1);
                        String id = row(other, "SELECT query_id FROM system.processes WHERE query LIKE '%killed%' AND query NOT LIKE '%processes%'").get(0).toString();
                        execute(other, "KILL QUERY WHERE query_id = '" + id + "' SYNC");
                    } catch (Throwable e) { e.printStackTrace(); }
                });
                t.start();
                fails(394, () -> row(c, sql));
                t.join();
            }
        });
        test("timeout of the server", () -> {
            try (Connection limited = connect("clickhouse_setting_max_execution_time", "1")) { fails(159, () -> row(limited, ENDLESS)); }
        });
        test("timeout of the socket", () -> {
            try (Connection impatient = connect("socket_timeout", "1000", "retry", "0"); Statement s = impatient.createStatement()) {
                try {
                    s.executeQuery(ENDLESS + " WHERE 'impatient' != ''");
                    throw new AssertionError("no error");
                } catch (SQLException e) {
                    awaitRunning(c, "impatient", 0);
                }
            }
        });
    }

    static void types(Connection c) {
        test("types", () -> {
            List<Object> got = row(c, "SELECT toDecimal64(1.5, 1), toDate('2020-01-02'), CAST('a' AS Enum8('a' = 1)), NULL, toInt128(-5), toLowCardinality('x'), map('k', 1::Int32), true, "
                + "CAST('x' AS Variant(UInt64, String)), toUUID('00000000-0000-0000-0000-000000000001'), toDateTime64('2026-01-01 00:00:00.123', 3, 'UTC')");
            equal(got.subList(0, 10).toString(), "[1.5, 2020-01-02, a, null, -5, x, {k=1}, true, x, 00000000-0000-0000-0000-000000000001]");
            if (!got.get(10).toString().contains("00:00.123")) throw new AssertionError(got.get(10));
        });
        test("parameters", () -> {
            try (PreparedStatement p = c.prepareStatement("SELECT ?, ?, ?")) {
                p.setString(1, "it's\t\\\n");
                p.setInt(2, 5);
                p.setNull(3, Types.VARCHAR);
                ResultSet r = p.executeQuery();
                equal(r.next(), true);
                equal(r.getString(1), "it's\t\\\n");
                equal(r.getInt(2), 5);
                equal(r.getObject(3), null);
            }
        });
    }

    static void inserts(Connection c) {
        test("batch", () -> {
            execute(c, "CREATE OR REPLACE TABLE java_rows (a UInt32, b String, d DateTime64(3)) ENGINE = MergeTree ORDER BY a");
            try (PreparedStatement p = c.prepareStatement("INSERT INTO java_rows (a, b, d) VALUES (?, ?, ?)")) {
                for (int i = 0; i < 5000; i++) {
                    p.setInt(1, i);
                    p.setString(2, "it's \\ " + i);
                    p.setTimestamp(3, new Timestamp(1700000000123L));
                    p.addBatch();
                }
                equal(p.executeBatch().length, 5000);
            }
            equal(row(c, "SELECT toInt32(count()), toInt32(uniqExact(b)), anyIf(b, a = 7) FROM java_rows"), List.of(5000, 5000, "it's \\ 7"));
            try (Statement s = c.createStatement()) { equal(s.executeUpdate("INSERT INTO java_rows SELECT number, 'x', now64(3) FROM numbers(10)"), 10); }
        });
    }

    static void users() {
        test("the reader", () -> {
            fails(516, () -> { try (Connection wrong = connect("user", "reader", "password", "wrong")) { row(wrong, "SELECT 1"); } });
            try (Connection reader = connect("user", "reader", "password", System.getenv("READER_PASSWORD"))) {
                equal(row(reader, "SELECT toInt32(count()) FROM activity"), List.of(0));
                for (String sql : new String[] {"CREATE TABLE t (a UInt8) ENGINE = Memory", "DROP TABLE activity_rows", "KILL QUERY WHERE 1"}) fails(164, () -> execute(reader, sql));
                fails(497, () -> row(reader, "SELECT * FROM file('/etc/passwd')"));
            }
        });
    }
}
