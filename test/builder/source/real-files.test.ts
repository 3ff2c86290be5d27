import assert from 'node:assert/strict';
import { mkdir, mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, test } from 'node:test';
import { requestedProcesses } from '../../../src/builder/source/components.ts';
import { prepareSource } from '../../../src/builder/source/prepared-source.ts';
import { removeTree } from '../../../src/core/disk/remove-tree.ts';
import { DeployError } from '../../../src/core/errors.ts';
import { progressTo } from '../../../src/core/progress.ts';
import type { Process } from '../../../src/core/types.ts';
import { tool } from '../support/build-request.ts';

const made: string[] = [];
after(async () => {
  for (const folder of made) await removeTree(folder);
});

interface Sample {
  /** What the file is like, and what its owner expects. */
  readonly name: string;
  readonly files: Readonly<Record<string, string>>;
  readonly tool?: string;
  /** The process types that the build finds; `web` unless given. */
  readonly built?: readonly string[];
  /** The processes: `web`, `worker=2` for two, `nightly@daily` on a schedule, `migrate=0` for a named command. */
  readonly runs?: string;
  readonly service?: Readonly<Record<string, unknown>>;
  /** The settings of the processes other than web. */
  readonly settings?: Readonly<Record<string, unknown>>;
  readonly commands?: Readonly<Record<string, string>>;
  readonly variables?: Readonly<Record<string, string>>;
  /** One pattern for each sentence that the push prints about the file. */
  readonly says?: readonly RegExp[];
  /** Matches the one sentence with which the file is refused. */
  readonly refused?: RegExp;
}

const MIB = 1024 ** 2;

const samples: readonly Sample[] = [
  {
    name: 'a web component without a type, with a port and a health check path, from its own repository',
    files: {
      'toolforge.yaml':
        '# yaml-language-server: $schema=https://gitlab.example.org/tool-config-schema.json\nsource_url: https://raw.githubusercontent.com/x/termbase/main/toolforge.yaml\ncomponents:\n  web:\n    build:\n      repository: https://github.com/x/termbase\n      ref: main\n    run:\n      command: web\n      port: 8000\n      mount: none\n      replicas: 1\n      health_check_http: /api/v1/stats\n',
    },
    runs: 'web',
    service: { healthCheckPath: '/api/v1/stats', port: 8000 },
  },
  {
    name: 'a component with publish and a port that is not 8000',
    files: {
      'toolforge.yaml':
        'config_version: v1beta1\ncomponents:\n  tool-replag:\n    build:\n      repository: https://gitlab.example.org/toolforge-repos/replag.git\n      ref: HEAD\n    run:\n      command: web\n      mount: none\n      port: 8080\n      publish: /\n',
    },
    runs: 'web',
    service: { healthCheckPath: null, port: 8080 },
  },
  {
    name: 'a web component and a worker with a health check script that reuses its build',
    files: {
      'toolforge.yaml':
        'components:\n  quick:\n    component_type: continuous\n    build: {repository: "https://gitlab.example.org/toolforge-repos/quick", ref: main}\n    run: {command: web, mount: none, port: 8000, publish: /, health_check_http: /healthz}\n  background-runner:\n    component_type: continuous\n    build: {reuse_from: quick}\n    run:\n      command: background-runner\n      mount: none\n      health_check_script: unlink /tmp/background-runner-healthy\n',
    },
    built: ['web', 'background-runner'],
    runs: 'background-runner=1 web',
    service: { healthCheckPath: '/healthz', port: 8000 },
    settings: { 'background-runner': { healthCheckScript: 'unlink /tmp/background-runner-healthy' } },
  },
  {
    name: 'commands in the layers of Heroku’s buildpacks, and a scheduled component with memory',
    files: {
      'toolforge.yaml':
        'config_version: v1beta1\nsource_url: https://raw.githubusercontent.com/b/views/main/toolforge.yaml\ncomponents:\n  webserver:\n    component_type: continuous\n    build:\n      repository: https://github.com/b/views\n      ref: main\n    run:\n      command: /layers/heroku_go/go_target/bin/webserver --port 8000\n      publish: "/" # serves the site\n      port: 8000\n      replicas: 1\n      mount: none\n      health_check_http: /robots.txt\n      cpu: "1"\n      memory: 512M\n\n  builder:\n    component_type: scheduled\n    build:\n      reuse_from: webserver\n    run:\n      command: /layers/heroku_go/go_target/bin/builder\n      schedule: "@daily"\n      mount: none\n      retry: 0\n      cpu: "2"\n      memory: 3G\n      emails: onfailure\n',
    },
    runs: 'builder@daily web',
    service: { healthCheckPath: '/robots.txt', port: 8000, cpuCores: 1, memoryBytes: 512e6 },
    settings: { builder: { cpuCores: 2, memoryBytes: 3e9 } },
    commands: { web: 'bash -c webserver --port 8000', builder: 'bash -c builder' },
    says: [
      /^Component builder: its command is builder\./,
      /^toolforge\.yaml: emails \(builder\) has no effect here\.$/,
    ],
  },
  {
    name: 'defaults of alerts, which have no effect',
    files: {
      'toolforge.yaml':
        'config_version: v1beta1\ndefaults:\n  alerts:\n    enabled: true\ncomponents:\n  web:\n    build: {repository: "https://github.com/d/painters", ref: main}\n    run: {command: web, port: 8000, publish: /}\n',
    },
    runs: 'web',
    says: [/^toolforge\.yaml: defaults has no effect here\.$/],
  },
  {
    name: 'a component with a port that nothing publishes is the site if the build has no web',
    files: {
      'toolforge.yaml':
        'config_version: v1beta1\ncomponents:\n  backend-service:\n    component_type: continuous\n    build:\n      repository: https://github.com/g/simple\n      ref: main\n    run:\n      command: backend\n      port: 8080\n      health_check_http: /healthz\n',
    },
    built: ['backend'],
    runs: 'backend=0 web',
    service: { healthCheckPath: '/healthz', port: 8080 },
  },
  {
    name: 'a component with a port beside web stays a worker',
    files: { 'toolforge.yaml': 'components:\n  metrics:\n    run: {command: ./metrics, port: 9000}\n' },
    runs: 'metrics=1 web',
    says: [
      /^Component metrics: its port has no effect here, because only web gets requests\. .*127\.0\.0\.1\.$/,
    ],
  },
  {
    name: 'components that reach each other by their names and ports on Toolforge',
    files: {
      'toolforge.yaml':
        'components:\n  web:\n    run: {command: web, port: 8000, publish: /}\n  api:\n    run:\n      command: ./api\n      port: 5000\n  cache:\n    run: {command: ./cache, port: 6379}\n',
    },
    runs: 'api=1 cache=1 web',
    service: { healthCheckPath: null, port: 8000 },
    says: [
      /^Components api, cache: their ports have no effect here, because only web gets requests\. Other components cannot reach http:\/\/api:PORT\. .* at 127\.0\.0\.1 \(line 7\)\.$/,
    ],
  },
  {
    name: 'an earlier version of the format, with emails and mounts, which have no effect',
    files: {
      'toolforge.yaml':
        'config_version: v1\nsource_url: https://gitlab.example.org/toolforge-repos/agpb\ncomponents:\n  frontend-service:\n    build:\n      repository: https://gitlab.example.org/toolforge-repos/agpb\n      ref: build-dev\n    run:\n      command: frontend\n      cpu: "2"\n      emails: onfailure\n      filelog: false\n      memory: 2Gi\n      mount: all\n      port: 8000\n      replicas: 1\n',
    },
    built: ['frontend'],
    runs: 'frontend=0 web',
    service: { healthCheckPath: null, port: 8000, cpuCores: 2, memoryBytes: 2048 * MIB },
    says: [
      /^config_version of toolforge\.yaml is v1, but this server only knows v1beta1, and reads it as that \(line 1\)\.$/,
      /^toolforge\.yaml: mount \(frontend-service\), emails \(frontend-service\) have no effect here\.$/,
    ],
  },
  {
    name: 'components of several repositories, of which only those of the pushed repository run',
    tool: 'reports',
    files: {
      'toolforge.yaml':
        'components:\n  web:\n    build: {repository: "https://github.com/org/reports", ref: main}\n    run: {command: web}\n  bot:\n    build: {repository: "https://github.com/org/other-bot", ref: main}\n    run: {command: bot}\n',
    },
    runs: 'web',
    says: [
      /^bot in toolforge\.yaml is not used: it is built from github\.com\/org\/other-bot, but a push builds only its own repository \(line 6\)\.$/,
    ],
  },
  {
    name: 'components of several other repositories',
    tool: 'hub',
    files: {
      'toolforge.yaml':
        'components:\n  a: {build: {repository: "https://github.com/org/a", ref: main}, run: {command: web}}\n  b: {build: {repository: "https://github.com/org/b", ref: main}, run: {command: b}}\n',
    },
    refused:
      /^the components of toolforge\.yaml are built from 2 repositories, and none has the name hub \(line 1\)$/,
  },
  {
    name: 'a build that is reused from a component that does not exist',
    files: {
      'toolforge.yaml': 'components:\n  bot:\n    build: {reuse_from: main}\n    run: {command: ./bot}\n',
    },
    refused:
      /^the component bot in toolforge\.yaml reuses the build of main, but no component of this name has a build of its own \(line 3\)$/,
  },
  {
    name: 'a component with its schedule and command outside of run',
    files: {
      'toolforge.yaml':
        'config_version: v1beta1\ncomponents:\n  daily:\n    component_type: scheduled\n    schedule: "17 4 * * *"\n    command: daily\n',
    },
    refused: /^the component daily in toolforge\.yaml has no `run` \(line 3\)$/,
  },
  {
    name: 'a component with a type but no run',
    files: { 'toolforge.yaml': 'components:\n  web:\n    type: web\n' },
    refused: /^the component web in toolforge\.yaml has no `run` \(line 2\)$/,
  },
  {
    name: 'versions of languages in place of components',
    files: { 'toolforge.yaml': 'php:\n  version: "8.1"\ngo:\n  version: "1.23" ' },
    runs: 'web',
    says: [
      /^toolforge\.yaml contains unknown keys: php, go \(line 1\)\. They are not used\. The known keys are: /,
    ],
  },
  {
    name: 'a manifest of Kubernetes',
    files: {
      'toolforge.yaml':
        'apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: prompter}\nspec: {replicas: 1}\n',
    },
    runs: 'web',
    says: [/^toolforge\.yaml contains unknown keys: apiVersion, kind, metadata, spec \(line 1\)\./],
  },
  {
    name: 'a tab in toolforge.yaml',
    files: { 'toolforge.yaml': 'components:\n  web:\n\trun: {command: web}\n' },
    refused: /^toolforge\.yaml is not valid YAML \(line 3: /,
  },
  {
    name: 'a component with two kinds of health checks',
    files: {
      'toolforge.yaml':
        'components:\n  web:\n    run:\n      command: web\n      health_check_http: /\n      health_check_script: ./ok\n',
    },
    refused:
      /^the component web in toolforge\.yaml has both health_check_http and health_check_script \(line 6\)$/,
  },
  {
    name: 'a merge key (<<), as in YAML 1.1',
    files: {
      'toolforge.yaml':
        'components:\n  sync: &job\n    run: &run {command: ./sync, schedule: "@hourly", memory: 256Mi}\n  clean:\n    run: {<<: *run, command: ./clean, retry: 2}\n',
    },
    runs: 'clean@hourly sync@hourly web',
    settings: { clean: { memoryBytes: 256 * MIB }, sync: { memoryBytes: 256 * MIB } },
  },
  {
    name: 'a list of jobs in toolforge.yaml, with commands in the home folder',
    files: {
      'toolforge.yaml':
        '- name: update-statistics\n  image: php8.4\n  command: php /data/project/citations/git_repo/src/update_statistics.php\n  schedule: "5 0 * * *"\n  retry: 0\n\n- name: session-cleanup\n  image: bookworm\n  command: bash -c "find ~/sessions/ -type f -delete"\n  schedule: "0 */8 * * *"\n',
    },
    runs: 'session-cleanup@0 */8 * * * update-statistics@5 0 * * * web',
    says: [
      /^toolforge\.yaml: update-statistics, session-cleanup will not find files in \/data\/project/,
      /^toolforge\.yaml: the version in image php8\.4 \(update-statistics\), image bookworm \(session-cleanup\) have no effect here\.$/,
    ],
  },
  {
    name: 'jobs in the image of the tool, with memory and processor time',
    files: {
      'jobs.yaml':
        '- command: bash scripts/start_celery.sh\n  continuous: true\n  cpu: \'1.0\'\n  image: tool-buckbot/tool-buckbot:latest\n  mem: 1.0Gi\n  mount: all\n  name: buckbot-celery\n- name: status-cron\n  command: python3 status_updater.py\n  image: tool-buckbot/tool-buckbot:latest\n  schedule: "*/15 * * * *"\n  cpu: 0.1\n  mem: 256Mi\n',
    },
    runs: 'buckbot-celery=1 status-cron@*/15 * * * * web',
    settings: {
      'buckbot-celery': { cpuCores: 1, memoryBytes: 1024 * MIB },
      'status-cron': { cpuCores: 0.1, memoryBytes: 256 * MIB },
    },
    says: [/^jobs\.yaml: mount \(buckbot-celery\) has no effect here\.$/],
  },
  {
    name: 'a job that runs once is a named command',
    files: {
      'jobs.yaml':
        '# Jobs\n---\n- name: build-sitelinks\n  cpu: 1\n  mem: 1Gi\n  image: tf-bullseye-std\n  command: ./build-sitelinks\n  emails: none\n',
    },
    runs: 'build-sitelinks=0 web',
    settings: { 'build-sitelinks': { cpuCores: 1, memoryBytes: 1024 * MIB } },
    says: [/^jobs\.yaml: image tf-bullseye-std \(build-sitelinks\) has no effect here\.$/],
  },
  {
    name: 'a job with files for its output, and with mails, which have no effect',
    files: {
      'jobs.yaml':
        "---\n# Backups\n- name: backup-database\n  command: ./backup.sh\n  image: bullseye\n  filelog-stdout: logs/backup.log\n  filelog-stderr: logs/backup.err\n  no-filelog: true\n  schedule: '45 */2 * * *'\n  emails: all\n  retry: 2\n  timeout: 600\n",
    },
    runs: 'backup-database@45 */2 * * * web',
    says: [
      /^jobs\.yaml: image bullseye \(backup-database\), emails \(backup-database\), filelog-stdout \(backup-database\), filelog-stderr \(backup-database\) have no effect here\.$/,
    ],
  },
  {
    name: 'jobs with full stops in their names, which become hyphens',
    files: {
      'jobs.yaml':
        '- command: ./task\n  name: task1.1\n  schedule: 0 0 * * *\n- command: ./task\n  name: task1.2\n  schedule: 0 12 * * *',
    },
    runs: 'task1-1@0 0 * * * task1-2@0 12 * * * web',
  },
  {
    name: 'a job with an environment, a key that Toolforge does not have',
    files: {
      'jobs.yaml':
        '- name: ml-worker\n  command: python -u worker.py\n  image: tool-visage/tool-visage:latest\n  continuous: true\n  mem: 3G\n  env:\n    - name: THREADS\n      value: "6"\n',
    },
    runs: 'ml-worker=1 web',
    settings: { 'ml-worker': { memoryBytes: 3e9 } },
    says: [
      /^ml-worker in jobs\.yaml contains unknown keys: env \(line 6\)\. They are not used\. The known keys are: command, schedule, .*mem, .*health-check-script/,
    ],
  },
  {
    name: 'commands in a clone in the home folder, and a virtual environment made by hand',
    files: {
      'toolforge/jobs.yaml':
        '- name: inrbot\n  image: python3.11\n  command: /data/project/inat/Reviewer/inrbot.sh\n  continuous: true\n  health-check-script: /data/project/inat/Reviewer/check.sh\n- name: fix\n  command: $HOME/wikipedia-bot/pyvenv/bin/python3 $HOME/wikipedia-bot/tasks/fix.py --all\n- name: lost\n  command: pyvenv/bin/python ~/elsewhere/x.py\n',
      'inrbot.sh': '',
      'check.sh': '',
      'tasks/fix.py': '',
    },
    runs: 'fix=0 inrbot=1 lost=0 web',
    settings: { inrbot: { healthCheckScript: './check.sh' } },
    commands: {
      inrbot: 'bash -c ./inrbot.sh',
      fix: 'bash -c python3 ./tasks/fix.py --all',
      lost: 'bash -c python ~/elsewhere/x.py',
    },
    says: [
      /^toolforge\/jobs\.yaml: inrbot, fix will use files of the repository/,
      /^toolforge\/jobs\.yaml: lost will not find files/,
      /^toolforge\/jobs\.yaml: the version in image python3\.11 \(inrbot\) has no effect here\.$/,
    ],
  },
  {
    name: 'commands that change into the clone first, or name the clone without the home folder',
    files: {
      'jobs.yaml':
        '- name: clone\n  image: python3.11\n  command: cd usage-bot && ./cron.osm\n- name: home\n  image: tool-own/tool-own:latest\n  command: bash -c "export A=1; cd $HOME && python3 status.py"\n- name: below\n  image: python3.11\n  command: cd /data/project/bot/code/src; python3 x.py\n- name: named\n  image: python3.11\n  command: ./bot/update.sh --to out/new.json\n- name: built\n  image: tool-own/tool-own:latest\n  command: cd dist && target/update.sh\n- name: there\n  image: python3.11\n  command: cd src && ./run.sh\n',
      'usage-bot': '',
      'cron.osm': '',
      'status.py': '',
      'update.sh': '',
      'bot/other.sh': '',
      'src/x.py': '',
    },
    runs: 'below=0 built=0 clone=0 home=0 named=0 there=0 web',
    commands: {
      clone: 'bash -c cd . && ./cron.osm',
      home: 'bash -c bash -c "export A=1; cd . && python3 status.py"',
      below: 'bash -c cd ./src; python3 x.py',
      named: 'bash -c ./update.sh --to out/new.json',
      built: 'bash -c cd dist && target/update.sh',
      there: 'bash -c cd src && ./run.sh',
    },
    says: [
      /^jobs\.yaml: clone, home, below, named will use files of the repository/,
      /^jobs\.yaml: the version in image/,
    ],
  },
  {
    name: 'programs in the layers of the builder of Toolforge',
    files: {
      'toolforge.yaml':
        'components:\n  site:\n    run:\n      command: /layers/heroku_go/go_target/bin/site --port 8000\n      publish: /\n  proxy:\n    run:\n      command: /layers/heroku_deb-packages/packages/usr/sbin/haproxy -f x.cfg\n      health_check_script: /layers/heroku_python/venv/bin/python3 check.py\n',
    },
    runs: 'proxy=1 web',
    settings: { proxy: { healthCheckScript: 'python3 check.py' } },
    commands: { web: 'bash -c site --port 8000', proxy: 'bash -c haproxy -f x.cfg' },
    says: [],
  },
  {
    name: 'extra_args that name the clone in the home folder',
    files: {
      'service.template':
        'type: jdk17\nextra_args:\n  - /data/project/scribe/scribe-server/start-server.sh\n  - --all\n',
      'start-server.sh': '',
    },
    runs: 'web',
    commands: { web: 'bash -c ./start-server.sh --all' },
    says: [
      /^extra_args of service\.template will use files of the repository/,
      /^type of service\.template: jdk17/,
    ],
  },
  {
    name: 'manifests of Kubernetes in a jobs.yaml',
    files: { 'jobs.yaml': 'kind: Job\n---\nkind: Job\n' },
    runs: 'web',
    says: [
      /^jobs\.yaml is not used, because it is probably a file of another program: jobs\.yaml is not valid YAML .*multiple documents/,
    ],
  },
  {
    name: 'a job in the image of another tool',
    files: {
      'jobs.yaml':
        '- {name: redis, command: redis-server, image: "tool-containers/redis:latest", continuous: true}\n- {name: bot, command: ./bot, image: "tool-bot/tool-bot:latest", continuous: true, health-check-script: ./ok, replicas: 2}\n',
    },
    runs: 'bot=2 web',
    settings: { bot: { healthCheckScript: './ok' } },
    says: [
      /^redis in jobs\.yaml is not used: its image tool-containers\/redis:latest is not built from this repository \(line 1\)\.$/,
    ],
  },
  {
    name: 'a jobs.yaml of another program, without a list',
    files: { 'jobs.yaml': 'apiVersion: batch/v1\nkind: Job\n' },
    runs: 'web',
    says: [/^jobs\.yaml is not used, because it has no list of jobs/],
  },
  {
    name: 'a jobs.yaml that is not used, because there is a toolforge.yaml',
    files: {
      'toolforge.yaml': 'components: {web: {run: {command: web}}}\n',
      'jobs.yaml': '- {name: a, command: ./a, schedule: "@daily"}\n',
    },
    runs: 'web',
    says: [/^jobs\.yaml is not used, because toolforge\.yaml is used\.$/],
  },
  {
    name: 'an unusable schedule in jobs.yaml',
    files: { 'jobs.yaml': '- name: a\n  command: ./a\n  schedule: every day\n' },
    refused:
      /^the schedule every day of a in jobs\.yaml cannot be used: it does not have five fields .* \(line 3\)$/,
  },
  {
    name: 'a service.template for Toolforge’s build service',
    files: {
      'service.template':
        'backend: kubernetes\ntype: buildservice\nmount: none\ncpu: 1\nmem: 1Gi\nreplicas: 3\nhealth-check-path: /healthz',
    },
    runs: 'web',
    service: { healthCheckPath: '/healthz', cpuCores: 1, memoryBytes: 1024 * MIB, replicas: 3 },
  },
  {
    name: 'a service.template in the folder toolforge, which maintainers copy into the home folder',
    files: {
      'toolforge/service.template':
        'type: buildservice\nmem: 1Gi\nhealth-check-path: /healthz\nextra_args: [./start.sh]\n',
    },
    runs: 'web',
    service: { healthCheckPath: '/healthz', memoryBytes: 1024 * MIB },
    says: [/extra_args has no effect here/],
  },
  {
    name: 'service.template with a command',
    files: {
      'service.template':
        'backend: kubernetes\ncpu: 3000m\nmem: 6Gi\nreplicas: 2\ntype: bookworm\nextra_args:\n  - ./start.sh\n  - --fast\n',
    },
    built: [],
    runs: 'web',
    commands: { web: 'bash -c ./start.sh --fast' },
    service: { healthCheckPath: null, cpuCores: 3, memoryBytes: 6144 * MIB, replicas: 2 },
    says: [/^type of service\.template: bookworm has no effect here/],
  },
  {
    name: 'service.template and toolforge.yaml: service.template wins, and the path replaces the script',
    files: {
      'service.template': 'type: python3.11\nhealth-check-path: /up\nmem: 1Gi\nextra_args: [a, b]\n',
      'toolforge.yaml':
        'components: {web: {run: {command: web, health_check_script: ./ok, memory: 2Gi, cpu: 500m, replicas: 2}}}\n',
    },
    runs: 'web',
    service: { healthCheckPath: '/up', memoryBytes: 1024 * MIB, cpuCores: 0.5, replicas: 2 },
    says: [/^service\.template: extra_args has no effect here\.$/],
  },
  {
    name: 'app.json of a Django application for Heroku',
    files: {
      'app.json':
        '{\n "name": "demo",\n "env": {\n  "SECRET_KEY": {"generator": "secret"},\n  "DEBUG": "0",\n  "WEB_CONCURRENCY": {"value": "2", "required": false},\n  "HINT": {"required": false}\n },\n "addons": ["heroku-postgresql"],\n "buildpacks": [{"url": "heroku/python"}],\n "scripts": {"postdeploy": "python manage.py migrate"},\n "formation": {"web": {"quantity": 1, "size": "eco"}, "worker": {"quantity": 2}}\n}',
    },
    built: ['web', 'worker'],
    runs: 'web=1 worker=2',
    variables: { DEBUG: '0', WEB_CONCURRENCY: '2' },
    says: [
      /^app\.json: addons, buildpacks, scripts\.postdeploy, size of formation have no effect here\.$/,
      /^To run a command before each release, write it as `release` into the Procfile\.$/,
    ],
  },
  {
    name: 'app.json with names that no config var can have, which are not used',
    files: {
      'app.json':
        '{"env": {"LD_PRELOAD": "x", "PORT": {"required": true}, "lower_case": "1", "GREETING": "hi"}}',
    },
    runs: 'web',
    variables: { GREETING: 'hi' },
    says: [
      /^app\.json: LD_PRELOAD, PORT, lower_case of env are not used\. The name of a config var has capital letters/,
    ],
  },
  {
    name: 'app.json with config vars that are required but not set',
    files: {
      'app.json':
        '{"env": {"API_KEY": {"description": "A key\\nof the API"}, "DATABASE_URL": {"required": true}, "B": {"required": "false"}, "C": "x"}}',
    },
    refused:
      /^app\.json requires config vars that are not set: API_KEY, DATABASE_URL\n {2}API_KEY: A key of the API$/,
  },
  {
    name: 'app.json with a value that no variable can have',
    files: { 'app.json': '{\n "env": {\n  "GREETING": {"value": "a\\u0000b"}\n }\n}' },
    refused: /^GREETING below env in app\.json has a value that a config var cannot have \(line 3\)$/,
  },
  {
    name: 'project.toml with buildpacks of other servers, which have no effect',
    files: {
      'project.toml':
        '[_]\nschema-version = "0.2"\n[io.buildpacks]\nexclude = ["/docs"]\n[[io.buildpacks.group]]\nid = "heroku/python"\n[[io.buildpacks.build.env]]\nname = "FLAG"\nvalue = "1"\n',
    },
    runs: 'web',
    says: [
      /^project\.toml names heroku\/python\. This name has no effect, because the files of the tool decide/,
    ],
  },
];

for (const sample of samples.filter(({ refused }) => refused === undefined)) {
  test(`a file like those of real tools is read as its owner expects: ${sample.name}`, () =>
    assertRead(sample));
}

for (const sample of samples) {
  const { refused } = sample;
  if (refused === undefined) continue;
  test(`a file like those of real tools is refused: ${sample.name}`, async () => {
    await assert.rejects(outcome(sample), (error: unknown) => {
      assert.ok(error instanceof DeployError, String(error));
      assert.match(error.message, refused);
      assert.match(error.hint, /\.$/);
      return true;
    });
  });
}

async function assertRead(sample: Sample): Promise<void> {
  const { warnings, processes, service, variables = {} } = await outcome(sample);
  const runs = processes.map(({ type, schedule, replicas }) =>
    schedule === undefined
      ? `${type}${replicas === undefined ? '' : `=${replicas}`}`
      : `${type}@${schedule.text.replace('@', '')}`,
  );
  assert.equal(runs.join(' '), sample.runs);
  if (sample.service !== undefined) assert.deepEqual(service, sample.service);
  const settings = processes.flatMap((one) => (one.settings === undefined ? [] : [[one.type, one.settings]]));
  assert.deepEqual(Object.fromEntries(settings), sample.settings ?? {});
  assert.deepEqual(variables, sample.variables ?? {});
  for (const [type, command] of Object.entries(sample.commands ?? {}))
    assert.equal(processes.find((one) => one.type === type)?.command.join(' '), command);
  const says = sample.says ?? [];
  for (const sentence of says)
    assert.ok(
      warnings.some((one) => sentence.test(one)),
      `${sentence}\n${warnings.join('\n')}`,
    );
  assert.equal(warnings.length, says.length, warnings.join('\n'));
}

async function outcome({ files, built = ['web'], tool: name = 'wikibot' }: Sample) {
  const folder = join(await mkdtemp(join(tmpdir(), 'real-files-')), 'workspace');
  made.push(dirname(folder));
  const checkOut = async () => {
    for (const [path, text] of Object.entries(files)) {
      await mkdir(dirname(join(folder, path)), { recursive: true });
      await writeFile(join(folder, path), text);
    }
  };
  const request = { tool: tool(name), toolNumber: 1, checkOut, configVars: {}, mostScheduled: 5 };
  const source = await prepareSource(
    request,
    folder,
    progressTo(() => {}),
    new AbortController().signal,
  );
  const warnings = [...source.warnings];
  const processes = built.map(
    (type): Process => ({ type, command: ['run', type], isDefault: type === 'web' }),
  );
  const requested = requestedProcesses(processes, source, (text) => warnings.push(text));
  return { ...requested, warnings };
}
