//! Tables of the whole graph, once all steps are there.

use super::{Builder, TABLE, certified};
use crate::graph::{Fill, Kind, Rows, Table};
use alloc::{vec, vec::Vec};
use carat_program::HALF;

impl Builder<'_> {
    /// Clamp tables with the same ends share one table where the joint domain still certifies every user.
    pub(super) fn merge_tables(&mut self) {
        let mut tables = Vec::<Table>::new();
        let mut target = Vec::with_capacity(self.graph.tables.len());
        for table in &self.graph.tables {
            let joined = match table.rows {
                Rows::Clamp { start, lo, hi } => tables.iter().position(|t| match t.rows {
                    Rows::Clamp {
                        start: s,
                        lo: l,
                        hi: h,
                    } if (l, h) == (lo, hi) => {
                        let first = s.min(start);
                        let end = (s + t.len() as i64).max(start + table.len() as i64);
                        end - first <= TABLE
                    }
                    _ => false,
                }),
                _ => None,
            };
            let Some(i) = joined else {
                target.push(tables.len());
                tables.push(table.clone());
                continue;
            };
            target.push(i);
            let (Rows::Clamp { start: s, lo, hi }, Rows::Clamp { start, .. }) =
                (&tables[i].rows, &table.rows)
            else {
                unreachable!("only clamps are joined");
            };
            let first = *s.min(start);
            let end = (s + tables[i].len() as i64).max(start + table.len() as i64);
            tables[i] = Table {
                rows: Rows::Clamp {
                    start: first,
                    lo: *lo,
                    hi: *hi,
                },
                dims: vec![(end - first) as usize],
                ..tables[i].clone()
            };
        }
        if !self.certified_with(&tables, &target) {
            return;
        }
        self.graph.tables = tables;
        for lookup in &mut self.graph.lookups {
            lookup.table = target[lookup.table];
        }
        for column in &mut self.graph.columns {
            if let Fill::Table { table, .. } = &mut column.fill {
                *table = target[*table];
            }
        }
    }

    /// Every shift result that is bounded by a clamp table keeps its certificate under other tables.
    fn certified_with(&self, tables: &[Table], target: &[usize]) -> bool {
        self.graph.lookups.iter().all(|lookup| {
            let Rows::Clamp { start, .. } = tables[target[lookup.table]].rows else {
                return true;
            };
            let domain = (start, start + tables[target[lookup.table]].len() as i64 - 1);
            let x = lookup.tuple[0];
            match self.graph.nodes[x].kind {
                Kind::Column(c) => match self.graph.columns[c].fill {
                    Fill::Shift { x, bits } => certified(self.range(x), domain, bits),
                    _ => true,
                },
                _ => true,
            }
        })
    }

    /// One column of multiplicities per table, last.
    pub(super) fn multiplicities(&mut self) {
        for t in 0..self.graph.tables.len() {
            let dims = self.graph.tables[t].dims.clone();
            self.graph.tables[t].multiplicity = self.graph.columns.len();
            self.column(dims, 0, HALF, Fill::Multiplicity(t));
        }
    }
}
