// A type as JSON has it: a string in place of an enumeration, down to every depth. An object that is
// written out where such a type is asked for may have no field that the type does not name.
export type Plain<T> = unknown extends T
  ? T
  : T extends string
    ? `${T}`
    : T extends number | boolean | null | undefined
      ? T extends number
        ? number
        : T
      : T extends Array<infer Item>
        ? Array<Plain<Item>>
        : { [Name in keyof T]: Plain<T[Name]> };
