import 'graphiql/setup-workers/vite';
import 'graphiql/style.css';
import '@graphiql/plugin-explorer/style.css';
import './page.css';

import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';

import { appFor } from './App';
import { configurationIn } from './configuration';

const element = document.getElementById('graphiql');
if (!element) throw new Error('The page has no place for GraphiQL.');

const App = appFor(configurationIn(element));
createRoot(element).render(
  <StrictMode>
    <App />
  </StrictMode>,
);
