// A callback handler as a business may run today: it shares no code with Weft.
// Usage: node legacy.js TOKEN ENCODING_AES_KEY APP_ID PORT
// It checks the signature, opens what is sealed, answers "legacy: " and the text,
// sealed where the callback was, and prints one line of JSON for each request.
// Texts with a meaning: silent (answers success), empty (answers nothing),
// refuse (status 500), once (status 500 for the first callback with it).
'use strict'
const crypto = require('crypto')
const http = require('http')

const [token, encodingKey, appID, port] = process.argv.slice(2)
const key = Buffer.from(encodingKey + '=', 'base64')
const seen = new Set()

const sign = (...parts) => crypto.createHash('sha1').update(parts.sort().join('')).digest('hex')

function open(text) {
  const decipher = crypto.createDecipheriv('aes-256-cbc', key, key.subarray(0, 16)).setAutoPadding(false)
  let plain = Buffer.concat([decipher.update(text, 'base64'), decipher.final()])
  plain = plain.subarray(0, plain.length - plain[plain.length - 1])
  const end = 20 + plain.readUInt32BE(16)
  if (plain.subarray(end).toString() !== appID) throw new Error('another app')
  return plain.subarray(20, end).toString()
}

function seal(message) {
  const body = Buffer.from(message)
  const length = Buffer.alloc(4)
  length.writeUInt32BE(body.length)
  let plain = Buffer.concat([crypto.randomBytes(16), length, body, Buffer.from(appID)])
  const pad = 32 - plain.length % 32
  plain = Buffer.concat([plain, Buffer.alloc(pad, pad)])
  const cipher = crypto.createCipheriv('aes-256-cbc', key, key.subarray(0, 16)).setAutoPadding(false)
  return Buffer.concat([cipher.update(plain), cipher.final()]).toString('base64')
}

function field(doc, name) {
  if (doc.startsWith('{')) return String(JSON.parse(doc)[name] ?? '')
  const found = doc.match(new RegExp(`<${name}>(?:<!\\[CDATA\\[(.*?)\\]\\]>|(.*?))</${name}>`, 's'))
  return found ? found[1] ?? found[2] : ''
}

function read(query, body) {
  const [timestamp, nonce] = [query.get('timestamp'), query.get('nonce')]
  if (Math.abs(Date.now() / 1000 - timestamp) > 300) throw new Error('too old')
  if (query.get('msg_signature')) {
    const text = field(body, 'Encrypt')
    if (sign(token, timestamp, nonce, text) !== query.get('msg_signature')) throw new Error('msg_signature')
    return { message: open(text), sealed: true }
  }
  if (sign(token, timestamp, nonce) !== query.get('signature')) throw new Error('signature')
  return { message: body, sealed: false }
}

function reply(message, sealed, nonce) {
  const json = message.startsWith('{')
  const [from, to, text] = [field(message, 'FromUserName'), field(message, 'ToUserName'), field(message, 'Content')]
  const now = Math.floor(Date.now() / 1000)
  let doc = json
    ? JSON.stringify({ ToUserName: from, FromUserName: to, CreateTime: now, MsgType: 'text', Content: 'legacy: ' + text })
    : `<xml>\r\n <ToUserName><![CDATA[${from}]]></ToUserName><FromUserName><![CDATA[${to}]]></FromUserName>` +
      `<CreateTime>${now}</CreateTime><MsgType><![CDATA[text]]></MsgType><Content><![CDATA[legacy: ${text}]]></Content></xml>\n`
  if (!sealed) return doc
  doc = seal(doc)
  const signature = sign(token, String(now), nonce, doc)
  return json
    ? JSON.stringify({ Encrypt: doc, MsgSignature: signature, TimeStamp: now, Nonce: nonce })
    : `<xml><Encrypt><![CDATA[${doc}]]></Encrypt><MsgSignature><![CDATA[${signature}]]></MsgSignature>` +
      `<TimeStamp>${now}</TimeStamp><Nonce><![CDATA[${nonce}]]></Nonce></xml>`
}

const server = http.createServer((request, response) => {
  const parts = []
  request.on('data', (part) => parts.push(part))
  request.on('end', () => {
    const body = Buffer.concat(parts)
    const query = new URL(request.url, 'http://localhost').searchParams
    const line = { method: request.method, url: request.url, type: request.headers['content-type'] ?? '', body: body.toString('base64') }
    let status = 200
    let answer = ''
    try {
      const { message, sealed } = read(query, body.toString())
      line.text = field(message, 'Content')
      line.openid = query.get('openid') ?? ''
      if (line.text === 'silent') answer = 'success'
      else if (line.text === 'refuse' || (line.text.startsWith('once') && !seen.has(line.text))) status = 500
      else if (line.text !== 'empty') answer = reply(message, sealed, query.get('nonce'))
      seen.add(line.text)
    } catch (err) {
      line.error = String(err)
      status = 403
    }
    const type = answer === 'success' ? 'text/html; charset=GBK' : 'Text/XML;charset="utf-8"'
    response.writeHead(status, { 'Content-Type': type })
    response.end(answer)
    console.log(JSON.stringify({ ...line, status, answer: Buffer.from(answer).toString('base64'), answerType: type }))
  })
})
server.listen(Number(port), '127.0.0.1', () => console.log(JSON.stringify({ port: server.address().port })))
