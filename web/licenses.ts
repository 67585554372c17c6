import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

import type { Plugin } from 'vite';

/** What may be in the page; another licence stops the build, so that somebody reads it first. */
const ACCEPTED = ['MIT', 'ISC', 'Apache-2.0', 'BSD-2-Clause', 'BSD-3-Clause', '0BSD'];
const LEGAL_TEXT = /^(licen[cs]e|notice|thirdpartynotices)/i;
const FONTS = `Fonts within GraphiQL's style sheet: Roboto, Copyright Google (Apache-2.0, https://www.apache.org/licenses/LICENSE-2.0),
and Fira Code, Copyright The Fira Code Project Authors (OFL-1.1, https://openfontlicense.org).
`;

interface Package {
  name: string;
  version: string;
  license: string;
}

/** Writes licenses.txt: of each package that a module of the page or of a worker comes from. Vite's own lacks workers. */
export function licenses(): { ofPage: Plugin; ofWorker: Plugin } {
  const folders = new Set<string>();

  const note: Plugin['generateBundle'] = (_, bundle) => {
    for (const file of Object.values(bundle)) {
      if (file.type !== 'chunk') continue;
      for (const id of file.moduleIds.filter((module) => module.includes('/node_modules/'))) {
        folders.add(folderOfPackage(id.replaceAll('\0', '')));
      }
    }
  };
  const ofWorker: Plugin = { name: 'licenses-of-worker', generateBundle: note };
  // Workers are bundled while the page is, so that all is noted when the page's files are generated.
  const ofPage: Plugin = {
    name: 'licenses-of-page',
    generateBundle(options, bundle, isWrite) {
      note.call(this, options, bundle, isWrite);
      const texts = [...new Set([...folders].map(textOf))].sort();
      this.emitFile({ type: 'asset', fileName: 'licenses.txt', source: [FONTS, ...texts].join('\n\n') });
    },
  };
  return { ofPage, ofWorker };
}

function folderOfPackage(module: string): string {
  let folder = dirname(module);
  // A package.json without a name only tells a folder's module format.
  while (!existsSync(join(folder, 'package.json')) || !manifestIn(folder).name) folder = dirname(folder);
  return folder;
}

function manifestIn(folder: string): Package {
  return JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Package;
}

function textOf(folder: string): string {
  const { name, version, license } = manifestIn(folder);
  if (!ACCEPTED.includes(license)) throw new Error(`${name} has the licence ${license}: see licenses.ts.`);
  const texts = readdirSync(folder)
    .filter((file) => LEGAL_TEXT.test(file))
    .map((file) => readFileSync(join(folder, file), 'utf8').trim());
  return [`== ${name} ${version} (${license})`, ...texts].join('\n\n');
}
