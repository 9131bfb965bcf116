/**
 * Builds ../static from src and the locked packages: graphiql.js, graphiql.css, icon.svg and LICENSES.txt.
 *
 * The same lock file gives the same bytes on every machine, so that a check can build again and compare. Nothing
 * in the result names the machine: no source map, no path, no time.
 */
import { copyFile, readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

import { build } from 'esbuild';

const here = path.dirname(fileURLToPath(import.meta.url));
const target = path.join(here, '..', 'static');

/** Whose the packages are that carry neither a licence file nor an author; as said in the repositories they are made in. */
const HOLDERS = {
  '@graphiql/plugin-doc-explorer': 'GraphQL Contributors',
  '@graphiql/plugin-history': 'GraphQL Contributors',
  'react-compiler-runtime': 'Meta Platforms, Inc. and affiliates.',
};

const MIT = `Copyright (c) HOLDER

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.`;

/** GraphiQL's sheet carries Roboto and Fira Code as data: fonts, nine tenths of its size. The page uses the system's. */
const withoutFonts = {
  name: 'without-fonts',
  setup(bundle) {
    bundle.onLoad({ filter: /graphiql[\\/]dist[\\/]style\.css$/ }, async ({ path: file }) => ({
      contents: (await readFile(file, 'utf8')).replace(/@font-face\s*\{[^}]*\}/g, ''),
      loader: 'css',
    }));
  },
};

const result = await build({
  absWorkingDir: here,
  entryPoints: { graphiql: 'src/main.jsx' },
  outdir: target,
  bundle: true,
  format: 'iife',
  target: ['es2022', 'chrome111', 'firefox113', 'safari16.4'],
  minify: true,
  sourcemap: false,
  charset: 'utf8',
  jsx: 'automatic',
  legalComments: 'none',
  banner: { js: '/* Licences: LICENSES.txt */', css: '/* Licences: LICENSES.txt */' },
  // The second is how the package graphql asks whether there is a NODE_ENV at all.
  define: { 'process.env.NODE_ENV': '"production"', 'globalThis.process': 'true' },
  alias: { 'react-style-singleton': './src/style_singleton.js' },
  plugins: [withoutFonts],
  metafile: true,
  logLevel: 'warning',
});

await copyFile(path.join(here, 'src', 'icon.svg'), path.join(target, 'icon.svg'));

const folders = new Set();
for (const output of Object.values(result.metafile.outputs)) {
  for (const [input, { bytesInOutput }] of Object.entries(output.inputs)) {
    const folder = input.match(/^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//)?.[1];
    if (folder && bytesInOutput > 0) folders.add(folder);
  }
}
const notices = await Promise.all([...folders].map(noticeOf));
notices.sort((one, other) => (one.title < other.title ? -1 : 1));
await writeFile(
  path.join(target, 'LICENSES.txt'),
  [
    'Fieldward\'s query page contains the packages below, each under its own licence.',
    '',
    ...notices.map(({ title, licence, text }) => `${'='.repeat(80)}\n${title} (${licence})\n${'='.repeat(80)}\n\n${text}\n`),
  ].join('\n'),
);

/** The text for a package that names its licence without carrying it. */
function unwritten(licence, holder) {
  if (licence !== 'MIT' || !holder) throw new Error(`A package without a licence text: ${licence}, ${holder}`);
  return MIT.replace('HOLDER', holder);
}

async function noticeOf(folder) {
  const root = path.join(here, folder);
  const about = JSON.parse(await readFile(path.join(root, 'package.json'), 'utf8'));
  const names = (await readdir(root)).filter((name) => /^(licen[cs]e|notice|copying)/i.test(name)).sort();
  const texts = await Promise.all(names.map((name) => readFile(path.join(root, name), 'utf8')));
  const author = typeof about.author === 'string' ? about.author : about.author?.name;
  const text = texts.map((one) => one.replace(/\r\n?/g, '\n').trim()).join('\n\n')
    || unwritten(about.license, HOLDERS[about.name] ?? author);
  return { title: `${about.name} ${about.version}`, licence: about.license, text };
}
