import { builderContract } from '../contracts/builder.ts';
import { ABuilder } from './a-builder.ts';

builderContract('local builder', () => ABuilder.open());
builderContract('local builder without isolation', () => ABuilder.open({ sandbox: 'trusted' }));
