// A mini program's login, without a phone: what its code does with wx.login and the
// like is asked of the fake WeChat here. It needs Node 18 or later.
//
//   node examples/shop/mini.js
'use strict'
const weft = 'http://127.0.0.1:8084/mp/mini'
const phone = 'http://127.0.0.1:8074/phone' // the user's, with WeChat on it

async function post(url, body, token) {
  const headers = { 'Content-Type': 'application/json' }
  if (token) headers.Authorization = `Bearer ${token}`
  const answer = await fetch(url, { method: 'POST', headers, body: JSON.stringify(body) })
  return { status: answer.status, ...await answer.json() }
}

async function wanted(url, body, token) {
  const answer = await post(url, body, token)
  if (answer.status !== 200) throw new Error(`${url}: status ${answer.status}: ${JSON.stringify(answer.error)}`)
  return answer
}

async function main() {
  // wx.login gives a code; the session_key stays with Weft.
  const { code } = await wanted(`${phone}/login`, {})
  const first = await wanted(`${weft}/login`, { code })
  console.log('login: a session of', first.expires_in, 's')

  // Before the token ends it is renewed. Each refresh token is good once.
  const session = await wanted(`${weft}/refresh`, { refresh_token: first.refresh_token })
  console.log('refresh: the refresh token is', session.refresh_token === first.refresh_token ? 'the same' : 'a new one')

  // <button open-type="getPhoneNumber"> gives another code.
  const button = await wanted(`${phone}/number`, {})
  const number = await wanted(`${weft}/phone`, { code: button.code }, session.token)
  console.log('phone:', number.phone)

  // wx.getUserProfile gives data that only who has the session_key can open.
  const profile = await wanted(`${phone}/profile`, {})
  const opened = await wanted(`${weft}/decrypt`, {
    encrypted_data: profile.encryptedData, iv: profile.iv, raw_data: profile.rawData, signature: profile.signature,
  }, session.token)
  console.log('decrypt:', opened.data.nickName)

  // Whoever shows a refresh token twice has stolen it, or was stolen from: the
  // session ends, for both.
  const again = await post(`${weft}/refresh`, { refresh_token: first.refresh_token })
  console.log('refresh again:', again.status, again.error.code)
  const after = await post(`${weft}/phone`, { code: 'any' }, session.token)
  console.log('the session:', after.status, after.error.code)
}

main().catch((err) => {
  console.error(err.message)
  process.exitCode = 1
})
