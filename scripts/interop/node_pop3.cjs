// Node's POP3 libraries against a server. NODE_POP3_PASSWORD has the password, NODE_POP3_TLS is 1 for TLS.
//   node_pop3.cjs node-pop3|yapople HOST PORT USER fetch DIR         each message that is not in DIR/ids into a file of DIR
//   node_pop3.cjs node-pop3|yapople HOST PORT USER delete DIR        the same, and deletes all
//   node_pop3.cjs node-pop3|yapople HOST PORT USER list              LIST, and UIDL where the library knows it
// What they leave out is left out here too: dots stay stuffed, and the end of the last line is missing.
'use strict';
const fs = require('fs');

const [library, host, port, user, what, folder] = process.argv.slice(2);
const password = process.env.NODE_POP3_PASSWORD;
const tls = process.env.NODE_POP3_TLS === '1';

const opened = {
  'node-pop3': () => {
    const Pop3 = require('node-pop3').default ?? require('node-pop3');
    const client = new Pop3({user, password, host, port: Number(port), tls, timeout: 10000});
    return {
      ids: async () => (await client.UIDL()).map(([, id]) => id),
      sizes: async () => (await client.LIST()).map(([, size]) => Number(size)),
      retrieve: async (number) => {
        await client._connect();
        const [, stream] = await client.command('RETR', number);
        const pieces = [];
        for await (const piece of stream) pieces.push(piece);
        return Buffer.concat(pieces);
      },
      delete: (number) => client.DELE(number),
      quit: () => client.QUIT(),
    };
  },
  yapople: async () => {
    const {Client} = require('yapople');
    const client = new Client({host, port: Number(port), tls, username: user, password, options: {servername: host}});
    await client.connect();
    return {
      ids: async () => Object.keys(await client.list()),  // it knows no UIDL
      sizes: async () => Object.values(await client.list()),
      retrieve: (number) => client.retrieve(number),
      delete: (number) => client.delete(number),
      quit: () => client.quit(),
    };
  },
};

async function main() {
  const client = await opened[library]();
  if (what === 'list') {
    console.log('sizes:', (await client.sizes()).join(' '));
    console.log('ids:', (await client.ids()).join(' '));
    return client.quit();
  }
  const known = fs.existsSync(`${folder}/ids`) ? fs.readFileSync(`${folder}/ids`, 'latin1').split('\n') : [];
  const ids = await client.ids();
  for (const [index, id] of ids.entries()) {
    if (what === 'fetch' && known.includes(id)) continue;
    const letter = await client.retrieve(index + 1);
    fs.writeFileSync(`${folder}/${String(index + 1).padStart(4, '0')}`, letter);
    if (what === 'delete') await client.delete(index + 1);
  }
  fs.writeFileSync(`${folder}/ids`, ids.join('\n'));
  return client.quit();
}

main().then(() => process.exit(0), (error) => {
  console.error(String(error && error.message || error));
  process.exit(1);
});
