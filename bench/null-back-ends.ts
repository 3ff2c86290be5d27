import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Builder, BuildRequest } from '../src/builder/builder.ts';
import type { Artifact } from '../src/core/types.ts';
import { NOTHING_OUTSIDE, type OutsideVars } from '../src/core/variables/outside-vars.ts';
import type { Gateway, LogLine, OneOffEnd, ProcessStatus, RollOut, Runtime } from '../src/run/runtime.ts';

/** Builds nothing, so a push needs only git, the doors, the store and the deployment line. */
export class NullBuilder implements Builder {
  async build({ id }: BuildRequest): Promise<Artifact> {
    return {
      id,
      kind: 'slug',
      reference: '/nonexistent',
      processes: [{ type: 'web', command: ['true'], isDefault: true }],
      buildpacks: [],
      service: { healthCheckPath: null },
      bytes: 0,
    };
  }

  async adopt(): Promise<never> {
    throw new Error('nothing is adopted here');
  }
  async inspect(): Promise<never> {
    throw new Error('nothing is inspected here');
  }

  whyUnusable(): null {
    return null;
  }

  async tag(): Promise<void> {}

  async remove(): Promise<void> {}
  async forget(): Promise<void> {}

  async cleanUp(): Promise<void> {}
  async resumable(): Promise<ReadonlySet<string>> {
    return new Set();
  }
  async resume(): Promise<never> {
    throw new Error('nothing is built here');
  }
}

/** Runs nothing: a rollout only calls `beforeSwitch`. */
export class NullRuntime implements Runtime, Gateway {
  async assertReady(): Promise<void> {}

  async outsideVars(): Promise<OutsideVars> {
    return NOTHING_OUTSIDE;
  }

  async runReleasePhase(): Promise<void> {}

  async rollOut({ beforeSwitch }: RollOut): Promise<void> {
    await beforeSwitch();
  }

  async scale({ beforeSwitch }: RollOut): Promise<void> {
    await beforeSwitch();
  }

  async resume(): Promise<void> {}

  async tryOut(): Promise<null> {
    return null;
  }
  async remove(): Promise<void> {}
  async letGo(): Promise<void> {}
  async stop(): Promise<void> {}

  async status(): Promise<ProcessStatus[]> {
    return [];
  }

  lostNamespace(): null {
    return null;
  }

  async startScheduledRun(): Promise<void> {}
  async applyPauses(): Promise<void> {}
  async dropOldLogs(): Promise<void> {}

  async *logs(): AsyncIterable<LogLine[]> {}

  address(): string | null {
    return null;
  }

  async close(): Promise<void> {}

  async cleanUp(): Promise<void> {}

  async run(): Promise<OneOffEnd> {
    return { status: 0, why: null };
  }

  async exec(): Promise<OneOffEnd> {
    return { status: 0, why: null };
  }

  async runDetached(): Promise<string> {
    return 'run.1';
  }

  endDetached(): boolean {
    return false;
  }

  async beginMaintenance(): Promise<boolean> {
    return false;
  }
  keepMaintenance(): void {}
  async endMaintenance(): Promise<void> {}

  artifactsInUse(): ReadonlySet<string> {
    return new Set();
  }

  async endOneOffs(): Promise<void> {}

  toolOf(): string | null {
    return null;
  }

  serve(_tool: string, _request: IncomingMessage, response: ServerResponse): void {
    response.writeHead(404).end();
  }

  upgrade(_tool: string, _request: IncomingMessage, socket: Duplex): void {
    socket.destroy();
  }
}
