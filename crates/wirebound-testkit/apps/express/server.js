// A small members' area on Express with express-session and its store in memory, as its guide would write one: the visit
// gets a new id at the sign-in. It knows of nothing that may stand in front of it.
'use strict'

const crypto = require('node:crypto')
const fs = require('node:fs')
const express = require('express')
const session = require('express-session')

const { APP_LOG, APP_SECRET, IDP_URL, IDP_BACK, IDP_KEY, ALICE_PASSWORD, PORT } = process.env
// Kept by the company's answer as it was sent: quotes, signs of HTML, a letter that is not ASCII.
const RELAY = '/members?from=<"a & b\'>+%41\u00e9'
const people = new Map([['alice', ALICE_PASSWORD]])
const notes = new Map()
const links = new Map()
const seenAssertions = new Set()

const log = line => fs.appendFileSync(APP_LOG, `${line}\n`)
const token = () => crypto.randomBytes(24).toString('base64url')
const own = (req, path) => `https://${req.get('host')}${path}`
const text = value => String(value).replace(/[&<>"]/g, c => `&#${c.charCodeAt(0)};`)

function same (a, b) {
  const [x, y] = [a, b].map(v => crypto.createHash('sha256').update(String(v)).digest())
  return Boolean(a) && Boolean(b) && crypto.timingSafeEqual(x, y)
}

const app = express()
app.disable('x-powered-by')
app.use(session({
  secret: APP_SECRET,
  resave: false,
  saveUninitialized: false,
  cookie: { sameSite: 'lax' }
}))
app.use(express.urlencoded({ extended: false }))

app.use((req, res, next) => {
  log(`${req.method} ${req.originalUrl} ${req.session.user ?? '-'}`)
  next()
})

app.use((req, res, next) => {
  const fromElsewhere = req.path === '/saml/acs'
  if (req.method === 'POST' && !fromElsewhere && !same(req.body?.csrf, req.session.csrf)) {
    return res.status(400).send('this form is not of this visit')
  }
  next()
})

function page (req, res, name, number = 0) {
  const user = req.session.user ?? ''
  const csrf = req.session.csrf ??= token()
  const hidden = `<input type="hidden" name="csrf" value="${csrf}">`
  const flash = req.session.flash ? `<p class="flash">${text(req.session.flash)}</p>` : ''
  delete req.session.flash
  const kept = (notes.get(user) ?? []).map(note => `<li>${text(note)}</li>`).join('')
  const inside = `
<a id="next" href="/members/${number + 1}">next</a>
<form id="note" method="post" action="/notes">${hidden}<input name="text"></form>
<form id="logout" method="post" action="/logout">${hidden}</form>
<ul id="notes">${kept}</ul>`
  const outside = `
<form id="login" method="post" action="/login">${hidden}<input name="username"><input name="password" type="password"></form>
<form id="mail" method="post" action="/login/mail">${hidden}<input name="username"></form>
<a id="oidc" href="/login/oidc">sign in elsewhere</a>
<a id="saml" href="/login/saml">sign in by the company</a>`
  res.send(`<!doctype html>
<title>Members</title>
<body data-user="${text(user)}" data-page="${text(name)}">
<h1>${text(name)}</h1>${flash}${user ? inside : outside}
`)
}

function signIn (req, res, user, how) {
  req.session.regenerate(error => {
    if (error) return res.status(500).send('no visit')
    req.session.user = user
    log(`SIGNIN ${how} ${user}`)
    res.redirect(303, '/members')
  })
}

function membersOnly (req, res, next) {
  if (!req.session.user) return res.redirect(303, '/login')
  next()
}

async function post (url, form) {
  const answer = await fetch(url, { method: 'POST', body: new URLSearchParams(form) })
  if (!answer.ok) throw new Error(`${url}: ${answer.status}`)
  return answer.text()
}

app.get('/', (req, res) => page(req, res, 'home'))
app.get('/login', (req, res) => page(req, res, 'login'))

app.post('/login', (req, res) => {
  const { username, password } = req.body
  if (!same(password, people.get(username))) return res.sendStatus(403)
  signIn(req, res, username, 'form')
})

app.post('/login/mail', async (req, res) => {
  const { username } = req.body
  if (people.has(username)) {
    const code = token()
    links.set(code, username)
    await post(`${IDP_BACK}/mail`, { link: own(req, `/login/link?code=${code}`) })
  }
  req.session.flash = 'look into your mail'
  res.redirect(303, '/login')
})

app.get('/login/link', (req, res) => {
  const user = links.get(req.query.code)
  if (!links.delete(req.query.code)) return res.status(403).send('this link was used')
  signIn(req, res, user, 'link')
})

app.get('/login/oidc', (req, res) => {
  req.session.state = token()
  const query = new URLSearchParams({
    response_type: 'code',
    client_id: 'members',
    scope: 'openid',
    redirect_uri: own(req, '/login/oidc/callback'),
    state: req.session.state
  })
  res.redirect(`${IDP_URL}/authorize?${query}`)
})

app.get('/login/oidc/callback', async (req, res) => {
  const state = req.session.state
  delete req.session.state
  if (!same(state, req.query.state)) return res.status(403).send('this answer is not of this visit')
  const told = await post(`${IDP_BACK}/token`, {
    grant_type: 'authorization_code',
    client_id: 'members',
    code: req.query.code,
    redirect_uri: own(req, '/login/oidc/callback')
  })
  signIn(req, res, JSON.parse(told).sub, 'oidc')
})

app.get('/login/saml', (req, res) => {
  req.session.saml = `_${token()}`
  const query = new URLSearchParams({ request: req.session.saml, acs: own(req, '/saml/acs'), relay: RELAY })
  res.redirect(`${IDP_URL}/saml/sso?${query}`)
})

app.post('/saml/acs', (req, res) => {
  const bytes = Buffer.from(req.body.SAMLResponse, 'base64')
  const mark = crypto.createHmac('sha256', IDP_KEY).update(bytes).digest('hex')
  if (!same(mark, req.body.Signature)) return res.status(403).send('not signed by the company')
  const told = JSON.parse(bytes)
  if (req.body.RelayState !== RELAY) return res.status(400).send('the state is not what was sent')
  const asked = req.session.saml
  delete req.session.saml
  if (seenAssertions.has(told.id) || !same(told.in_response_to, asked)) {
    return res.status(403).send('this answer is not of this visit')
  }
  seenAssertions.add(told.id)
  signIn(req, res, told.subject, 'saml')
})

app.get('/members', membersOnly, (req, res) => page(req, res, 'members'))
app.get('/members/:number', membersOnly, (req, res) => {
  const number = Number(req.params.number)
  page(req, res, `members ${number}`, number)
})

app.get('/api/me', (req, res) => {
  if (!req.session.user) return res.sendStatus(401)
  res.json({ user: req.session.user })
})

app.post('/notes', membersOnly, (req, res) => {
  const { user } = req.session
  notes.set(user, [...(notes.get(user) ?? []), req.body.text])
  log(`NOTE ${req.body.text} ${user}`)
  req.session.flash = `kept: ${req.body.text}`
  res.redirect(303, '/members')
})

app.post('/logout', (req, res) => {
  req.session.destroy(() => {
    res.clearCookie('connect.sid')
    res.redirect(303, '/')
  })
})

app.listen(Number(PORT), '127.0.0.1')
