import { defineConfig } from 'vite';

import { licenses } from './licenses.ts';

const noted = licenses();

export default defineConfig({
  // The server shows the page at /graphql, and what belongs to it under this path.
  base: '/graphiql/',
  plugins: [noted.ofPage],
  worker: { format: 'es', plugins: () => [noted.ofWorker] },
  build: {
    // An editor is large, and loaded once: the names carry hashes, so that browsers keep the files.
    chunkSizeWarningLimit: 5000,
    // "use client" means nothing here, and dozens of packages say it.
    rolldownOptions: { checks: { moduleLevelDirective: false } },
  },
});
