// SPDX-License-Identifier: Apache-2.0
// A mark is the line at which a frame must be found.
mod shapes {
    pub trait Area {
        fn table(&self, count: usize) -> Vec<u64>;
    }
    pub struct Square(pub u64);
    impl Area for Square {
        #[inline(never)]
        fn table(&self, count: usize) -> Vec<u64> {
            let mut table = Vec::with_capacity(count); // mark: table
            for i in 0..count as u64 {
                table.push(i * self.0);
            }
            table
        }
    }
}

#[inline(never)]
fn boxed<T: Copy>(value: T, count: usize) -> Vec<Box<T>> {
    (0..count).map(|_| Box::new(value)).collect() // mark: boxed
}

fn main() {
    use shapes::Area;
    let table = shapes::Square(3).table(10000); // mark: main
    let boxes = boxed([1u8; 600], 1000);
    println!("{} {}", table.len(), boxes.len());
}
