//! The scenario that authors begin with: everything one needs, and a word on each part.

/// One of two processors dies under load, and no request fails.
pub(in crate::sut) const FIRST_SCENARIO: &str = "\
# yaml-language-server: $schema=../harness/scenario.schema.json
version: 1
name: NAME
about: One of two processors dies under load, and no request fails.

system:
  runtime: embedded               # everything in one process; `process` starts real ones
  service: { gateways: 1, processors: 2 }

load:
  frames:
    arrivals: { rate: 20/s, for: 20s, shape: poisson }
    timeout: 2s
    steps:
      - get: /api/v1/videos/$(fixture.short)/frame?at=$(random 0..5)s
        expect: { status: 200, type: image/jpeg }

steady:                           # must hold this long before the fault, and again after it
  window: 3s
  hold: [ frames.success >= 99.9% ]

faults:
  - { name: crash, at: 5s, for: 4s, target: processor-2, inject: kill }

expect:
  always: [ frames.success >= 99.9% ]
  recover: { within: 3s }
";
