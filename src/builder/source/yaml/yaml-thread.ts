import { parentPort, workerData } from 'node:worker_threads';
import { parseYaml } from './parse-yaml.ts';

// This thread gets the YAML text as `workerData`, and sends what `parseYaml` returns as its only message.
parentPort?.postMessage(parseYaml(String(workerData)));
