// Package score turns how unlikely something is under a model into how often it
// really happens: tails, calibration, fusion and the alert budget.
//
//  1. The unit of evidence is x = -log10 p of a tail; 0 is no evidence. A tail is
//     never infinite: it ends at MaxEvidence.
//  2. The unit of a verdict is lambda, exceedances expected per agent-day. Without
//     evidence lambda is NoEvidence, never small.
//  3. Calibration is non-increasing: more evidence never has a higher lambda.
//
// The package imports the standard library, gonum and detector/internal/wire.
package score
