// ClickHouse's client for Node, @clickhouse/client, against the embedded engine.
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { createClient } from '@clickhouse/client'

const url = `http://127.0.0.1:${process.env.CLICKHOUSE_PORT}`
const endless = 'SELECT max(sipHash64(number)) FROM numbers(100000000000)'
// Its error comes behind more output than a server keeps back.
const broken = 'SELECT number, throwIf(number = 2900000) FROM numbers(3000000)'
const silent = { level: 127 }

async function withClient(options, f) {
  const client = createClient({ url, database: 'plumbline', log: silent, ...options })
  try {
    return await f(client)
  } finally {
    await client.close()
  }
}

const rows = async (client, query, more) => (await client.query({ query, format: 'JSONEachRow', ...more })).json()

async function running(id) {
  const [{ n }] = await withClient({}, (c) => rows(c, 'SELECT count() AS n FROM system.processes WHERE query_id = {id: String}', { query_params: { id } }))
  return Number(n)
}

async function until(f) {
  for (const end = Date.now() + 10000; !(await f()); await sleep(20)) assert.ok(Date.now() < end, 'waited for in vain')
}

test('ping', () => withClient({}, async (c) => {
  assert.equal((await c.ping()).success, true)
  assert.equal((await c.ping({ select: true })).success, true)
}))

test('settings end with their request', () => withClient({ session_id: randomUUID() }, async (c) => {
  await assert.rejects(rows(c, 'SELECT sleepEachRow(0.1) FROM numbers(50)', { clickhouse_settings: { max_execution_time: 1, max_block_size: '1' } }), { code: '159' })
  await rows(c, 'SELECT 1', { clickhouse_settings: { readonly: '1', max_threads: 3 } })
  assert.deepEqual(await rows(c, "SELECT toUInt8(getSetting('max_execution_time')) AS t"), [{ t: 0 }])
  await c.command({ query: 'CREATE TEMPORARY TABLE mine (a UInt8)' })
  await c.insert({ table: 'mine', values: [{ a: 1 }, { a: 2 }], format: 'JSONEachRow' })
  assert.deepEqual(await rows(c, 'SELECT toUInt8(sum(a)) AS s FROM mine'), [{ s: 3 }])
}))

test('query_id', () => withClient({}, async (c) => {
  const r = await c.query({ query: 'SELECT queryID() AS q', format: 'JSONEachRow', query_id: "node's" })
  assert.equal(r.query_id, "node's")
  assert.deepEqual(await r.json(), [{ q: "node's" }])
}))

test('kill', () => withClient({}, async (c) => {
  const query_id = randomUUID()
  const killed = assert.rejects(c.query({ query: endless, query_id }), { code: '394', type: 'QUERY_WAS_CANCELLED' })
  await until(() => running(query_id))
  await c.command({ query: 'KILL QUERY WHERE query_id = {id: String} SYNC', query_params: { id: query_id } })
  await killed
}))

test('abort', () => withClient({}, async (c) => {
  const query_id = randomUUID()
  const abort = new AbortController()
  const aborted = assert.rejects(c.query({ query: endless, query_id, abort_signal: abort.signal }), /aborted/)
  await until(() => running(query_id))
  abort.abort()
  await aborted
  await until(async () => !(await running(query_id)))
}))

test('a stream that is left ends its statement', () => withClient({}, async (c) => {
  const query_id = randomUUID()
  const r = await c.query({ query: 'SELECT number FROM numbers(100000000000)', format: 'JSONEachRow', query_id })
  for await (const part of r.stream()) {
    assert.ok(part.length > 0)
    break
  }
  r.close()
  await until(async () => !(await running(query_id)))
}))

test('timeouts of server and client', () => withClient({ request_timeout: 1000 }, async (c) => {
  const query_id = randomUUID()
  await assert.rejects(c.query({ query: endless, clickhouse_settings: { max_execution_time: 0.3 } }), { code: '159', type: 'TIMEOUT_EXCEEDED' })
  await assert.rejects(c.query({ query: endless, query_id }), /Timeout/)
  await until(async () => !(await running(query_id)))
}))

test('progress headers keep the connection', () => withClient({ request_timeout: 1000 }, async (c) => {
  const r = await c.query({
    query: 'SELECT sleepEachRow(0.5) FROM numbers(5) SETTINGS max_block_size = 1',
    format: 'TSV',
    clickhouse_settings: { send_progress_in_http_headers: 1, http_headers_progress_interval_ms: '300', wait_end_of_query: 1 },
  })
  assert.equal(await r.text(), '0\n'.repeat(5))
  assert.match(String(r.response_headers['x-clickhouse-progress']), /"read_rows":"\d+"/)
}))

test('errors before the answer', () => withClient({}, async (c) => {
  for (const [query, code, type] of [
    ['SELECT * FROM nowhere', '60', 'UNKNOWN_TABLE'],
    ['SELEC 1', '62', 'SYNTAX_ERROR'],
    ['SELECT throwIf(number = 5) FROM numbers(10)', '395', 'FUNCTION_THROW_IF_VALUE_IS_NON_ZERO'],
    ["SELECT * FROM file('/etc/passwd')", '497', 'ACCESS_DENIED'],
  ]) await assert.rejects(c.query({ query }), { code, type })
  await assert.rejects(c.insert({ table: 'nowhere', values: [{ a: 1 }], format: 'JSONEachRow' }), { code: '60' })
}))

for (const response of [false, true]) {
  test(`errors in mid-stream, compressed: ${response}`, () => withClient({ compression: { response } }, async (c) => {
    const says = { code: '395', type: 'FUNCTION_THROW_IF_VALUE_IS_NON_ZERO', message: /^Value passed to 'throwIf' function is non-zero/ }
    for (const format of ['JSONEachRow', 'CSV', 'TabSeparated', 'JSONCompactEachRow']) {
      let n = 0
      await assert.rejects(async () => {
        for await (const part of (await c.query({ query: broken, format })).stream()) n += part.length
      }, says, format)
      assert.ok(n > 100000)
    }
    await assert.rejects(async () => (await c.query({ query: broken, format: 'JSONEachRow' })).json(), says)
  }))

  test(`big results and inserts, compressed: ${response}`, () => withClient({ compression: { response, request: response } }, async (c) => {
    let sum = 0
    for await (const part of (await c.query({ query: 'SELECT toUInt32(number) AS n FROM numbers(1000000)', format: 'JSONCompactEachRow' })).stream()) {
      for (const row of part) sum += row.json()[0]
    }
    assert.equal(sum, 999999 * 500000)
    await c.command({ query: 'CREATE OR REPLACE TABLE node_rows (a UInt32, b String) ENGINE = MergeTree ORDER BY a' })
    const values = Array.from({ length: 20000 }, (_, a) => ({ a, b: `it's \\ ${a} \u{1f600}` }))
    const done = await c.insert({ table: 'node_rows', values, format: 'JSONEachRow', clickhouse_settings: { async_insert: 1, wait_for_async_insert: 1 } })
    assert.equal(done.summary.written_rows, '20000')
    assert.deepEqual(await rows(c, 'SELECT * FROM node_rows ORDER BY a'), values)
  }))
}

test('parameters and formats', () => withClient({}, async (c) => {
  const params = { n: 5, s: "it's\t\\\n", a: ["a'b", 'c'], d: new Date(678), m: { k: 1 }, x: null }
  assert.deepEqual(await rows(c, 'SELECT {n: UInt8} AS n, {s: String} AS s, {a: Array(String)} AS a, {d: DateTime64(3)} AS d, {m: Map(String, UInt8)} AS m, {x: Nullable(String)} AS x', { query_params: params }),
    [{ ...params, d: '1970-01-01 00:00:00.678' }])
  const json = await (await c.query({ query: 'SELECT number FROM numbers(3)', format: 'JSON' })).json()
  assert.equal(json.rows, 3)
  const { stream, summary } = await c.exec({ query: 'SELECT number FROM numbers(3) FORMAT Parquet' })
  let bytes = Buffer.alloc(0)
  for await (const part of stream) bytes = Buffer.concat([bytes, part])
  assert.equal(bytes.subarray(0, 4).toString(), 'PAR1')
  assert.equal(summary.result_rows, '3')
}))

test('the reader', async () => {
  await withClient({ username: 'reader', password: 'wrong' }, (c) => assert.rejects(rows(c, 'SELECT 1'), { code: '516' }))
  await withClient({ username: 'reader', password: process.env.READER_PASSWORD }, async (c) => {
    assert.deepEqual(await rows(c, 'SELECT toUInt8(count()) AS n FROM alerts'), [{ n: 0 }])
    for (const query of ['CREATE TABLE t (a UInt8) ENGINE = Memory', 'DROP TABLE activity_rows', 'KILL QUERY WHERE 1']) await assert.rejects(c.command({ query }), { code: '164' })
    await assert.rejects(c.insert({ table: 'activity_rows', values: [{ event_id: 'x' }], format: 'JSONEachRow' }), { code: '164' })
  })
})
