/** What a driver, which opens no file of weights, has to know of the model. */
export const size = { layers: 4, experts: 32, context: 512, expertBytes: 100_352 } as const
