import { writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { configurationPage } from './configuration-page.ts';

// `npm run docs`: docs/configuration.md is made from the table of settings.
writeFileSync(resolve(import.meta.dirname, '../../docs/configuration.md'), configurationPage());
