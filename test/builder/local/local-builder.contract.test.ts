import { builderContract } from '../../contracts/builder.ts';
import { ABuilder } from '../support/a-builder.ts';

const options = { outlivesServer: false };
builderContract('local builder', () => ABuilder.open(), options);
builderContract('local builder without isolation', () => ABuilder.open({ sandbox: 'trusted' }), options);
