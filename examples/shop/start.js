// Starts the fake WeChat, the shop and the host, one after another. Ctrl-C stops
// them. Weft and the fake WeChat have to be built: make shop does both.
//
//   node examples/shop/start.js
'use strict'
const { spawn } = require('child_process')
const path = require('path')
const readline = require('readline')

const top = path.join(__dirname, '..', '..')
const wechat = '127.0.0.1:8074'
const parts = [
  { ready: ' listens at ', run: [path.join(top, 'bin', 'shop-wechat'), '-listen', wechat] },
  { ready: ' listens at ', run: [process.execPath, path.join(__dirname, 'web', 'server.js')] },
  { ready: '"msg":"serving"', run: [path.join(top, 'bin', 'weft'), 'serve', '-c', path.join(__dirname, 'pipeline.yaml')] },
]
const running = new Set()
let stopping = false

function stop(code) {
  if (stopping) return
  stopping = true
  process.exitCode = code
  for (const child of running) child.kill('SIGTERM')
}

// start resolves when the part says that it is ready.
function start(part) {
  return new Promise((resolve) => {
    const child = spawn(part.run[0], part.run.slice(1), { stdio: ['ignore', 'inherit', 'pipe'] })
    running.add(child)
    readline.createInterface({ input: child.stderr }).on('line', (line) => {
      process.stderr.write(line + '\n')
      if (line.includes(part.ready)) resolve()
    })
    child.on('error', (err) => {
      process.stderr.write(`${part.run[0]}: ${err.message}: make shop builds it\n`)
      running.delete(child)
      stop(1)
    })
    child.on('close', (code) => {
      running.delete(child)
      stop(code === null ? 1 : code) // without one of them the others are of no use
    })
  })
}

async function main() {
  // Ctrl-C reaches all of them by itself; a second signal would cut the host off.
  process.once('SIGINT', () => { stopping = true })
  process.on('SIGTERM', () => stop(0))
  for (const part of parts) {
    if (stopping) return
    await start(part)
  }
  process.stderr.write('the shop is open: http://127.0.0.1:8094/\n')
}

main()
