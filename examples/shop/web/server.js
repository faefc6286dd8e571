// The shop's own back end: its page, and what the page may know of its customer.
// It logs customers in through Weft, calls WeChat's API through Weft, and has no
// secret of WeChat's. It needs Node 18 or later and nothing else.
//
//   node examples/shop/web/server.js
'use strict'
const crypto = require('crypto')
const fs = require('fs')
const http = require('http')
const path = require('path')

const own = new URL('http://127.0.0.1:8094')
const weft = 'http://127.0.0.1:8084' // server.public of pipeline.yaml
const app = 'shop'
const callerKey = process.env.SHOP_CALLER_KEY || 'wk_868f500ab56a05bb7dc4384ffdc247617691e23cb982f99493f904075d4660f3'
const eventsSecret = process.env.SHOP_EVENTS_SECRET || 'sampleEventsSecret'

const maxBody = 1 << 20
const files = { '/': ['page.html', 'text/html'], '/page.js': ['page.js', 'text/javascript'] }
const customers = new Map() // by the cookie's value: { openid, until }

const random = () => crypto.randomBytes(32).toString('hex')

function cookies(request) {
  const found = {}
  for (const part of (request.headers.cookie || '').split(';')) {
    const at = part.indexOf('=')
    if (at > 0) found[part.slice(0, at).trim()] = part.slice(at + 1).trim()
  }
  return found
}

// On a site with https the cookies are Secure, too.
const cookie = (name, value, seconds) => `${name}=${value}; Path=/; Max-Age=${seconds}; HttpOnly; SameSite=Lax`

const same = (a, b) => {
  const [x, y] = [Buffer.from(String(a)), Buffer.from(String(b))]
  return x.length === y.length && crypto.timingSafeEqual(x, y)
}

function go(response, to, ...set) {
  response.writeHead(302, { Location: to, 'Set-Cookie': set, 'Cache-Control': 'no-store', 'Referrer-Policy': 'no-referrer' }).end()
}

function say(response, status, value) {
  response.writeHead(status, { 'Content-Type': 'application/json', 'Cache-Control': 'no-store' }).end(JSON.stringify(value))
}

async function ask(url, options) {
  const answer = await fetch(url, { signal: AbortSignal.timeout(10_000), redirect: 'error', ...options })
  const value = await answer.json()
  if (!answer.ok) throw new Error(`${new URL(url).pathname}: status ${answer.status}: ${value.error && value.error.code}`)
  return value
}

// login sends the browser to Weft, which sends it to WeChat. The number in the
// cookie and in the redirect binds what comes back to this browser: else somebody
// could have a customer log in as somebody else.
function login(response) {
  const number = random()
  const back = new URL('/back', own)
  back.searchParams.set('n', number)
  const to = new URL(`/oauth/${app}/login`, weft)
  to.searchParams.set('redirect', back.href)
  to.searchParams.set('scope', 'snsapi_userinfo')
  go(response, to.href, cookie('shop_login', number, 600))
}

// back is where the browser comes back to, with a ticket or an error.
async function back(request, response, query) {
  const forget = cookie('shop_login', '', 0)
  const number = cookies(request).shop_login
  if (!number || !same(number, query.get('n'))) return go(response, '/?error=another_browser', forget)
  if (!query.has('ticket')) return go(response, '/?' + new URLSearchParams({ error: query.get('error') || 'no_ticket' }), forget)
  const session = await ask(`${weft}/oauth/${app}/ticket`, { method: 'POST', body: JSON.stringify({ ticket: query.get('ticket') }) })
  const claims = await verify(session.token)
  const value = random()
  customers.set(value, { openid: claims.openid, until: Date.now() + session.expires_in * 1000 })
  go(response, '/', forget, cookie('shop_customer', value, session.expires_in))
}

// verify checks the token of a session by Weft's public keys, and returns what it
// says. Any program can.
async function verify(token) {
  const [head, body, signature] = token.split('.')
  const { alg, kid } = JSON.parse(Buffer.from(head, 'base64url'))
  const { keys } = await ask(`${weft}/.well-known/jwks.json`)
  const jwk = keys.find((key) => key.kid === kid && key.alg === 'EdDSA')
  if (alg !== 'EdDSA' || !jwk) throw new Error('the token is signed with none of the keys')
  const key = crypto.createPublicKey({ key: jwk, format: 'jwk' })
  if (!crypto.verify(null, Buffer.from(`${head}.${body}`), key, Buffer.from(signature, 'base64url'))) throw new Error('the token is not signed')
  const claims = JSON.parse(Buffer.from(body, 'base64url'))
  if (claims.iss !== weft || ![].concat(claims.aud).includes(app) || claims.exp * 1000 <= Date.now()) throw new Error('the token is not for here and now')
  return claims
}

// me tells the page who its customer is, and asks WeChat, through Weft's gateway.
async function me(request, response) {
  const customer = customers.get(cookies(request).shop_customer)
  if (!customer || customer.until <= Date.now()) return say(response, 401, { error: 'nobody is logged in' })
  const url = new URL(`/api/${app}/cgi-bin/user/info`, weft)
  url.searchParams.set('openid', customer.openid)
  const info = await ask(url, { headers: { Authorization: `Bearer ${callerKey}` } })
  if (info.errcode) throw new Error(`user/info: errcode ${info.errcode}`)
  say(response, 200, { openid: customer.openid, follows: info.subscribe === 1 })
}

// events hears of logins and phone numbers, from Weft alone.
function events(request, response, body) {
  const sign = new Map((request.headers['weft-signature'] || '').split(',').map((part) => part.split('=')))
  const want = crypto.createHmac('sha256', eventsSecret).update(sign.get('t') + '.').update(body).digest('hex')
  if (!same(want, sign.get('v1')) || Math.abs(Date.now() / 1000 - Number(sign.get('t'))) > 300) return say(response, 403, { error: 'not of Weft' })
  const event = JSON.parse(body)
  process.stderr.write(`the shop hears: ${event.event} of ${event.app}, ${(event.fields || []).map((f) => `${f.name} ${f.value}`).join(', ')}\n`)
  response.writeHead(204).end()
}

function read(request) {
  return new Promise((resolve, reject) => {
    const parts = []
    let size = 0
    request.on('error', reject)
    request.on('data', (part) => {
      size += part.length
      if (size > maxBody) reject(new Error('the body is too large'))
      else parts.push(part)
    })
    request.on('end', () => resolve(Buffer.concat(parts)))
  })
}

async function serve(request, response) {
  const url = new URL(request.url, own)
  const body = await read(request)
  const file = files[url.pathname]
  switch (`${request.method} ${file ? 'file' : url.pathname}`) {
    case 'GET file':
      response.writeHead(200, { 'Content-Type': `${file[1]}; charset=utf-8` })
      return response.end(fs.readFileSync(path.join(__dirname, file[0])))
    case 'GET /login': return login(response)
    case 'GET /back': return back(request, response, url.searchParams)
    case 'GET /me': return me(request, response)
    case 'POST /events': return events(request, response, body)
    default: return say(response, 404, { error: 'there is nothing' })
  }
}

const server = http.createServer((request, response) => {
  serve(request, response).catch((err) => {
    process.stderr.write(`the shop: ${err.message}\n`)
    if (!response.headersSent) say(response, 502, { error: 'it did not work' })
  })
})
server.listen(Number(own.port), own.hostname, () => process.stderr.write(`the shop listens at ${own.href}\n`))
for (const name of ['SIGINT', 'SIGTERM']) process.on(name, () => process.exit(0))
