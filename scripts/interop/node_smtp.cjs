// Nodemailer against a server. NODE_SMTP_PASSWORD has the password of USER, if there is one.
//   node_smtp.cjs clear|starttls|tls HOST PORT COUNT USER FROM TO... < LETTER    COUNT letters over one pool of connections
// The letter is sent as it is (`raw`). NODE_EXTRA_CA_CERTS names the authority.
'use strict';
const fs = require('fs');
const nodemailer = require('nodemailer');

const [way, host, port, count, user, from, ...to] = process.argv.slice(2);
const pass = process.env.NODE_SMTP_PASSWORD;
const transport = nodemailer.createTransport({
  host, port: Number(port), name: 'topaz.test', pool: true, maxConnections: 3,
  secure: way === 'tls', requireTLS: way === 'starttls', ignoreTLS: way === 'clear',
  ...(pass && {auth: {user, pass}, authMethod: process.env.NODE_SMTP_METHOD}),
});
const raw = fs.readFileSync(0);

async function main() {
  const sent = await Promise.all(Array.from({length: Number(count)}, () =>
    transport.sendMail({envelope: {from, to}, raw})));
  for (const info of sent) {
    console.log('accepted:', info.accepted.join(' '), 'rejected:', info.rejected.join(' '), info.response);
  }
  transport.close();
}

main().then(() => process.exit(0), (error) => {
  console.error(error.responseCode, error.message);
  process.exit(1);
});
