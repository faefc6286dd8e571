// What the page does: it shows who is logged in, and has WeChat's JavaScript allow
// it to be shared.
'use strict'
const weft = 'http://127.0.0.1:8084'
const show = (id, text) => { document.getElementById(id).textContent = text }

// Why nobody is logged in, where Weft or the shop says so.
const errors = { access_denied: '你没有同意登录。', another_browser: '登录不是从这个浏览器开始的，请重新登录。' }

async function customer() {
  const answer = await fetch('/me')
  if (answer.status === 401) {
    const error = new URLSearchParams(location.search).get('error')
    show('hello', error === null ? '你好，请登录。' : errors[error] || '登录没有成功，请再试一次。')
    document.getElementById('login').hidden = false
    return
  }
  if (!answer.ok) throw new Error(`/me: status ${answer.status}`)
  const me = await answer.json()
  show('hello', '欢迎光临！')
  show('openid', me.openid)
  show('follows', me.follows ? '已关注' : '未关注')
}

async function sdk() {
  const page = location.href.split('#')[0]
  const answer = await fetch(`${weft}/jsapi/shop/sign?url=${encodeURIComponent(page)}`)
  if (!answer.ok) throw new Error(`sign: status ${answer.status}`)
  wx.error((err) => show('sdk', err.errMsg))
  wx.ready(() => show('sdk', '可以分享'))
  wx.config({ ...await answer.json(), jsApiList: ['updateAppMessageShareData'] })
}

customer().catch(() => show('hello', '店里出了点问题，请稍后再来。'))
sdk().catch((err) => show('sdk', err.message))
