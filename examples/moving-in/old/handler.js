// The old handler of the example: what answers an account before Weft does. It
// has its own code for WeChat's safe mode and knows nothing of Weft.
//
//   node handler.js
//
// Token and key are the account's, from the environment as in pipeline.yaml.
'use strict'
const crypto = require('crypto')
const http = require('http')

const token = process.env.SHOP_TOKEN || 'sampleToken'
const appID = process.env.SHOP_APP_ID || 'wx0000000000000000'
const key = Buffer.from((process.env.SHOP_AES_KEY || 'sampleKeysampleKeysampleKeysampleKeysampleK') + '=', 'base64')
const address = new URL('http://127.0.0.1:8092/wechat/portal/wx1')

// What it answers. Nothing: the user gets no answer.
function say(message) {
  if (field(message, 'MsgType') === 'event') {
    switch (field(message, 'Event')) {
      case 'subscribe': return '欢迎关注！'
      case 'CLICK': return '功能升级中，请稍候。'
    }
    return ''
  }
  if (field(message, 'MsgType') !== 'text') return ''
  const text = field(message, 'Content').trim()
  if (text === '价格' || text === '多少钱') return '价目表见官网。'
  if (text.includes('营业') || text.includes('几点')) return '每天 9 点到 21 点营业。'
  return '没有听懂，请回复“价格”或“营业时间”。'
}

const sign = (...parts) => crypto.createHash('sha1').update(parts.sort().join('')).digest('hex')

function field(xml, name) {
  const found = xml.match(new RegExp(`<${name}>(?:<!\\[CDATA\\[(.*?)\\]\\]>|(.*?))</${name}>`, 's'))
  return found ? found[1] ?? found[2] : ''
}

function open(text) {
  const decipher = crypto.createDecipheriv('aes-256-cbc', key, key.subarray(0, 16)).setAutoPadding(false)
  let plain = Buffer.concat([decipher.update(text, 'base64'), decipher.final()])
  plain = plain.subarray(0, plain.length - plain[plain.length - 1])
  const end = 20 + plain.readUInt32BE(16)
  if (plain.subarray(end).toString() !== appID) throw new Error('the message is for another app')
  return plain.subarray(20, end).toString()
}

function seal(message) {
  const body = Buffer.from(message)
  const length = Buffer.alloc(4)
  length.writeUInt32BE(body.length)
  const plain = Buffer.concat([crypto.randomBytes(16), length, body, Buffer.from(appID)])
  const pad = 32 - plain.length % 32
  const cipher = crypto.createCipheriv('aes-256-cbc', key, key.subarray(0, 16)).setAutoPadding(false)
  return Buffer.concat([cipher.update(plain), cipher.update(Buffer.alloc(pad, pad)), cipher.final()]).toString('base64')
}

// answer is the body for a callback, sealed.
function answer(query, body) {
  const [timestamp, nonce, sealed] = [query.get('timestamp'), query.get('nonce'), field(body, 'Encrypt')]
  if (sign(token, timestamp, nonce, sealed) !== query.get('msg_signature')) throw new Error('the signature is wrong')
  const message = open(sealed)
  const text = say(message)
  if (text === '') return 'success'
  const now = String(Math.floor(Date.now() / 1000))
  const reply = seal(`<xml><ToUserName><![CDATA[${field(message, 'FromUserName')}]]></ToUserName>` +
    `<FromUserName><![CDATA[${field(message, 'ToUserName')}]]></FromUserName><CreateTime>${now}</CreateTime>` +
    `<MsgType><![CDATA[text]]></MsgType><Content><![CDATA[${text}]]></Content></xml>`)
  return `<xml><Encrypt><![CDATA[${reply}]]></Encrypt><MsgSignature><![CDATA[${sign(token, now, nonce, reply)}]]></MsgSignature>` +
    `<TimeStamp>${now}</TimeStamp><Nonce><![CDATA[${nonce}]]></Nonce></xml>`
}

const server = http.createServer((request, response) => {
  const url = new URL(request.url, 'http://localhost')
  const parts = []
  request.on('data', (part) => parts.push(part))
  request.on('end', () => {
    try {
      if (request.method !== 'POST' || url.pathname !== address.pathname) throw new Error('this is no callback')
      response.end(answer(url.searchParams, Buffer.concat(parts).toString()))
    } catch (err) {
      console.error(String(err))
      response.writeHead(403).end()
    }
  })
})
server.listen(address.port, address.hostname, () => console.error('the old handler listens at ' + address.href))
