import { parentPort, workerData } from 'node:worker_threads';
import { parseYaml } from './parse-yaml.ts';

// The text is the `workerData` of this thread, and its value is the only message.
parentPort?.postMessage(parseYaml(String(workerData)));
